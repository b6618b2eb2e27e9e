//! Numbers and constant expressions, by the rules of the ISA's section on constant expressions: 64-bit integers that are
//! signed until something unsigned takes part, and doubles.

use super::{Parser, Read};
use crate::ptx::ast::{FunctionId, RegId, SymbolId};
use crate::ptx::lex::{Kind, Token};
use crate::ptx::scope::Entity;

/// What an expression is about besides its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// A register, inside brackets only.
    Register(RegId),
    /// A variable, and whether its generic address is meant.
    Symbol(SymbolId, bool),
    /// A function, and whether its generic address is meant.
    Function(FunctionId, bool),
}

/// The value of an expression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// An integer's 64 bits, and whether it is unsigned.
    Integer { bits: u64, unsigned: bool },
    /// `0f…`, which takes no part in arithmetic.
    F32(u32),
    /// A double.
    F64(f64),
    /// A name and what is added to it.
    Address { base: Base, offset: u64 },
}

impl Value {
    fn signed(bits: u64) -> Value {
        Value::Integer { bits, unsigned: false }
    }

    fn truth(truth: bool) -> Value {
        Value::signed(u64::from(truth))
    }
}

/// Operators of two operands, from those that bind least.
const LEVELS: &[&[(Kind, Binary)]] = &[
    &[(Kind::Or, Binary::LogicalOr)],
    &[(Kind::And, Binary::LogicalAnd)],
    &[(Kind::Punct(b'|'), Binary::Or)],
    &[(Kind::Punct(b'^'), Binary::Xor)],
    &[(Kind::Punct(b'&'), Binary::And)],
    &[(Kind::Equal, Binary::Equal), (Kind::NotEqual, Binary::NotEqual)],
    &[
        (Kind::Punct(b'<'), Binary::Less),
        (Kind::Punct(b'>'), Binary::Greater),
        (Kind::AtMost, Binary::AtMost),
        (Kind::AtLeast, Binary::AtLeast),
    ],
    &[(Kind::ShiftLeft, Binary::ShiftLeft), (Kind::ShiftRight, Binary::ShiftRight)],
    &[(Kind::Punct(b'+'), Binary::Add), (Kind::Punct(b'-'), Binary::Subtract)],
    &[
        (Kind::Punct(b'*'), Binary::Multiply),
        (Kind::Punct(b'/'), Binary::Divide),
        (Kind::Punct(b'%'), Binary::Remainder),
    ],
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    LogicalOr,
    LogicalAnd,
    Or,
    Xor,
    And,
    Equal,
    NotEqual,
    Less,
    Greater,
    AtMost,
    AtLeast,
    ShiftLeft,
    ShiftRight,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl<'t> Parser<'t> {
    /// An expression: numbers, names and what is done with them.
    pub(super) fn expression(&mut self) -> Read<Value> {
        let condition = self.binary(0)?;
        if !self.eat(b'?') {
            return Ok(condition);
        }
        let token = self.token();
        self.enter()?;
        let yes = self.expression()?;
        self.expect(b':', "between the values of a conditional")?;
        let no = self.expression()?;
        self.leave();
        match condition {
            Value::Integer { bits, .. } => Ok(if bits != 0 { yes } else { no }),
            _ => self.fail(token, "a condition must be an integer"),
        }
    }

    fn binary(&mut self, level: usize) -> Read<Value> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some((_, operator)) = operators.iter().find(|(kind, _)| *kind == self.kind()) {
            let token = self.advance();
            let right = self.binary(level + 1)?;
            left = match apply(*operator, left, right) {
                Ok(value) => value,
                Err(why) => return self.fail(token, why),
            };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Read<Value> {
        let Kind::Punct(sign @ (b'-' | b'+' | b'!' | b'~')) = self.kind() else { return self.primary() };
        let token = self.advance();
        self.enter()?;
        let value = self.unary()?;
        self.leave();
        match (sign, value) {
            (b'+', Value::Integer { .. } | Value::F64(_)) => Ok(value),
            (b'-', Value::Integer { bits, unsigned }) => {
                Ok(Value::Integer { bits: bits.wrapping_neg(), unsigned })
            }
            (b'-', Value::F64(x)) => Ok(Value::F64(-x)),
            (b'!', Value::Integer { bits, .. }) => Ok(Value::truth(bits == 0)),
            (b'~', Value::Integer { bits, .. }) => Ok(Value::Integer { bits: !bits, unsigned: true }),
            _ => self.fail(token, "this operator needs a number that takes part in arithmetic"),
        }
    }

    fn primary(&mut self) -> Read<Value> {
        let token = self.token();
        match token.kind {
            Kind::Integer => self.integer().map(|(bits, unsigned)| Value::Integer { bits, unsigned }),
            Kind::Decimal => {
                self.advance();
                match self.word(token).parse::<f64>() {
                    Ok(x) => Ok(Value::F64(x)),
                    Err(_) => self.fail(token, "this is no number"),
                }
            }
            Kind::F32 => self.float_bits(8).map(|bits| Value::F32(bits as u32)),
            Kind::F64 => self.float_bits(16).map(|bits| Value::F64(f64::from_bits(bits))),
            Kind::Punct(b'(') => self.bracketed(),
            Kind::Word => self.named(token),
            _ => self.fail(token, "expected a number or a name"),
        }
    }

    /// `(…)` or a cast, `(.s64) x`.
    fn bracketed(&mut self) -> Read<Value> {
        self.enter()?;
        self.advance();
        let cast = [("s64", false), ("u64", true)].into_iter().find(|(name, _)| self.eat_dotted(name));
        let value = match cast {
            None => {
                let value = self.expression()?;
                self.expect(b')', "after the expression")?;
                value
            }
            Some((_, unsigned)) => {
                let token = self.expect(b')', "after the type of a cast")?;
                match self.unary()? {
                    Value::Integer { bits, .. } => Value::Integer { bits, unsigned },
                    _ => return self.fail(token, "only an integer can be cast"),
                }
            }
        };
        self.leave();
        Ok(value)
    }

    fn named(&mut self, token: Token) -> Read<Value> {
        let name = self.word(token);
        self.advance();
        if name == "generic" && self.is_punct(b'(') {
            return self.generic();
        }
        let base = match self.scopes.get(name) {
            Some(Entity::Register(id)) => Base::Register(id),
            Some(Entity::Variable(id)) => Base::Symbol(id, false),
            Some(Entity::Function(id)) => Base::Function(id, false),
            Some(Entity::Vector(..)) => {
                return self.fail(token, "a vector of registers has no place in an expression");
            }
            None if name == "WARP_SZ" => return Ok(Value::signed(32)),
            None => {
                let help = self.scopes.suggest(name, self.scopes.current());
                self.note(token, "no register, variable or function of this name is declared here", help);
                return Ok(Value::signed(0));
            }
        };
        Ok(Value::Address { base: self.component(base, token)?, offset: 0 })
    }

    /// `.x` after a register is an error here: only a vector has components, and it is no part of an expression.
    fn component(&mut self, base: Base, token: Token) -> Read<Base> {
        if matches!(base, Base::Register(_)) && self.is(Kind::Dotted) {
            return self.fail(token, "a component of a register has no place in an expression");
        }
        Ok(base)
    }

    /// `(name + offset)` after `generic`.
    fn generic(&mut self) -> Read<Value> {
        self.enter()?;
        let token = self.advance();
        let value = self.expression()?;
        self.expect(b')', "after the name whose generic address is meant")?;
        self.leave();
        match value {
            Value::Address { base: Base::Symbol(id, _), offset } => {
                Ok(Value::Address { base: Base::Symbol(id, true), offset })
            }
            Value::Address { base: Base::Function(id, _), offset } => {
                Ok(Value::Address { base: Base::Function(id, true), offset })
            }
            _ => self.fail(token, "only a variable or a function has a generic address"),
        }
    }

    /// An integer as written: its bits, and whether it is unsigned.
    fn integer(&mut self) -> Read<(u64, bool)> {
        let token = self.advance();
        let written = self.word(token);
        let (digits, unsigned) = match written.strip_suffix('U') {
            Some(digits) => (digits, true),
            None => (written, false),
        };
        let lower = digits.as_bytes().get(..2).map(|start| [start[0], start[1].to_ascii_lowercase()]);
        let (digits, radix) = match lower {
            Some([b'0', b'x']) => (&digits[2..], 16),
            Some([b'0', b'b']) => (&digits[2..], 2),
            Some([b'0', _]) => (&digits[1..], 8),
            _ => (digits, 10),
        };
        match u64::from_str_radix(digits, radix) {
            Ok(bits) => Ok((bits, unsigned || bits > i64::MAX as u64)),
            Err(error) if *error.kind() == std::num::IntErrorKind::PosOverflow => {
                self.fail(token, "an integer must fit in 64 bits")
            }
            Err(_) => self.fail(token, "this is no number"),
        }
    }

    /// `0f` or `0d` and exactly so many hexadecimal digits.
    fn float_bits(&mut self, digits: usize) -> Read<u64> {
        let token = self.advance();
        let hex = &self.word(token)[2..];
        match u64::from_str_radix(hex, 16) {
            Ok(bits) if hex.len() == digits => Ok(bits),
            _ => self.fail(token, format!("this number needs {digits} hexadecimal digits")),
        }
    }

    /// An integer that a directive needs, in one token.
    pub(super) fn directive_integer(&mut self, what: &str) -> Read<u64> {
        if !self.is(Kind::Integer) {
            return self.fail_here(format!("expected {what}"));
        }
        self.integer().map(|(bits, _)| bits)
    }

    /// The same, in 32 bits.
    pub(super) fn directive_u32(&mut self, what: &str) -> Read<u32> {
        let token = self.token();
        let value = self.directive_integer(what)?;
        match u32::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => self.fail(token, format!("expected {what} of 32 bits")),
        }
    }
}

fn apply(operator: Binary, left: Value, right: Value) -> Result<Value, &'static str> {
    match (left, right) {
        (Value::Integer { bits: a, unsigned: u }, Value::Integer { bits: b, unsigned: v }) => {
            integers(operator, (a, u), (b, v))
        }
        (Value::Address { base, offset }, Value::Integer { bits, .. }) => match operator {
            Binary::Add => Ok(Value::Address { base, offset: offset.wrapping_add(bits) }),
            Binary::Subtract => Ok(Value::Address { base, offset: offset.wrapping_sub(bits) }),
            _ => Err("an address takes an offset and no other arithmetic"),
        },
        (Value::Integer { .. }, Value::Address { .. }) if operator == Binary::Add => {
            apply(operator, right, left)
        }
        (Value::Address { .. }, Value::Address { .. }) => {
            Err("two names cannot be added: an address has one base")
        }
        (Value::F64(a), Value::F64(b)) => floats(operator, a, b),
        (Value::F64(a), Value::Integer { bits, unsigned }) => floats(operator, a, as_double(bits, unsigned)),
        (Value::Integer { bits, unsigned }, Value::F64(b)) => floats(operator, as_double(bits, unsigned), b),
        (Value::F32(_), _) | (_, Value::F32(_)) => Err("`0f` numbers take no part in arithmetic"),
        _ => Err("an address takes an offset and no other arithmetic"),
    }
}

fn as_double(bits: u64, unsigned: bool) -> f64 {
    if unsigned { bits as f64 } else { bits as i64 as f64 }
}

fn floats(operator: Binary, a: f64, b: f64) -> Result<Value, &'static str> {
    Ok(match operator {
        Binary::Add => Value::F64(a + b),
        Binary::Subtract => Value::F64(a - b),
        Binary::Multiply => Value::F64(a * b),
        Binary::Divide => Value::F64(a / b),
        Binary::Equal => Value::truth(a == b),
        Binary::NotEqual => Value::truth(a != b),
        Binary::Less => Value::truth(a < b),
        Binary::Greater => Value::truth(a > b),
        Binary::AtMost => Value::truth(a <= b),
        Binary::AtLeast => Value::truth(a >= b),
        _ => return Err("this operator is for integers"),
    })
}

/// Integers and whether each is unsigned; what they make is unsigned when one of them is, unless said otherwise.
fn integers(
    operator: Binary,
    (a, a_unsigned): (u64, bool),
    (b, b_unsigned): (u64, bool),
) -> Result<Value, &'static str> {
    let unsigned = a_unsigned || b_unsigned;
    let order = if unsigned { a.cmp(&b) } else { (a as i64).cmp(&(b as i64)) };
    let number = |bits| Ok(Value::Integer { bits, unsigned });
    let bitwise = |bits| Ok(Value::Integer { bits, unsigned: true });
    match operator {
        Binary::LogicalOr => Ok(Value::truth(a != 0 || b != 0)),
        Binary::LogicalAnd => Ok(Value::truth(a != 0 && b != 0)),
        Binary::Or => bitwise(a | b),
        Binary::Xor => bitwise(a ^ b),
        Binary::And => bitwise(a & b),
        Binary::Equal => Ok(Value::truth(a == b)),
        Binary::NotEqual => Ok(Value::truth(a != b)),
        Binary::Less => Ok(Value::truth(order.is_lt())),
        Binary::Greater => Ok(Value::truth(order.is_gt())),
        Binary::AtMost => Ok(Value::truth(order.is_le())),
        Binary::AtLeast => Ok(Value::truth(order.is_ge())),
        Binary::ShiftLeft | Binary::ShiftRight => shift(operator, a, a_unsigned, b),
        Binary::Add => number(a.wrapping_add(b)),
        Binary::Subtract => number(a.wrapping_sub(b)),
        Binary::Multiply => number(a.wrapping_mul(b)),
        Binary::Divide | Binary::Remainder if b == 0 => Err("this divides by zero"),
        Binary::Divide if unsigned => number(a / b),
        Binary::Remainder if unsigned => number(a % b),
        Binary::Divide => number((a as i64).wrapping_div(b as i64) as u64),
        Binary::Remainder => number((a as i64).wrapping_rem(b as i64) as u64),
    }
}

/// A shift has the type of its left side.
fn shift(operator: Binary, a: u64, unsigned: bool, amount: u64) -> Result<Value, &'static str> {
    let Some(amount) = u32::try_from(amount).ok().filter(|amount| *amount < 64) else {
        return Err("a shift must be by 0 to 63");
    };
    let bits = match operator {
        Binary::ShiftLeft => a << amount,
        _ if unsigned => a >> amount,
        _ => ((a as i64) >> amount) as u64,
    };
    Ok(Value::Integer { bits, unsigned })
}
