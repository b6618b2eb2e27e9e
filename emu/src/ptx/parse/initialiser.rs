//! Initial values of variables: their bytes, and the addresses among them.

use super::constant::{Base, Value};
use super::variable::Declarator;
use super::{Parser, Read};
use crate::ptx::ast::{Relocation, RelocationTarget, Type};
use crate::ptx::lex::{Kind, Token};

/// The bytes of a variable, as far as they are given, and the addresses to be put in.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) bytes: Vec<u8>,
    pub(super) relocations: Vec<Relocation>,
}

impl<'t> Parser<'t> {
    /// What comes after `=`. An open dimension is as large as what is given.
    pub(super) fn initialiser(&mut self, declarator: &mut Declarator<'t>) -> Read<Image> {
        if matches!(declarator.shape.ty, Type::F(16) | Type::F16x2 | Type::Bf16 | Type::Bf16x2) {
            return self
                .fail_here("a variable of this type has no initial value; declare it as `.b16` or `.b32`");
        }
        let mut image = Image::default();
        let given = self.fill(declarator, 0, 0, &mut image)?;
        if declarator.open() {
            declarator.dimensions[0] = Some(given);
            let stride = stride(declarator, 0);
            // Every element was put into the image, so that the product is near its length.
            declarator.size = given.saturating_mul(stride);
        }
        Ok(image)
    }

    /// One value, or a list for dimension `level`; gives how many elements stand in it. `at` is a byte offset.
    fn fill(&mut self, declarator: &Declarator<'t>, level: usize, at: u64, image: &mut Image) -> Read<u64> {
        let Some(dimension) = declarator.dimensions.get(level) else {
            self.element(declarator.shape.ty, at, image)?;
            return Ok(1);
        };
        if self.is(Kind::Text) && level + 1 == declarator.dimensions.len() && declarator.shape.ty.bits() == 8
        {
            return self.string(*dimension, at, image);
        }
        self.expect(b'{', "before the values of an array")?;
        let stride = stride(declarator, level);
        let mut given = 0_u64;
        if self.eat(b'}') {
            return Ok(given);
        }
        loop {
            if dimension.is_some_and(|most| given >= most) {
                return self.fail_here("there are more values than the array has elements");
            }
            self.fill(declarator, level + 1, at.saturating_add(given.saturating_mul(stride)), image)?;
            given += 1;
            if !self.eat(b',') {
                break;
            }
        }
        self.expect(b'}', "after the values of an array")?;
        Ok(given)
    }

    /// A string as bytes. An open array gets the terminating zero that C would give it.
    fn string(&mut self, dimension: Option<u64>, at: u64, image: &mut Image) -> Read<u64> {
        let token = self.advance();
        let mut bytes = unescape(self.word(token));
        if dimension.is_none() {
            bytes.push(0);
        }
        if dimension.is_some_and(|most| bytes.len() as u64 > most) {
            return self.fail(token, "the string is longer than the array");
        }
        self.put(token, at, &bytes, image)?;
        Ok(bytes.len() as u64)
    }

    fn element(&mut self, ty: Type, at: u64, image: &mut Image) -> Read<()> {
        let token = self.token();
        if token.kind == Kind::Integer && self.kind_after(1) == Kind::Punct(b'(') {
            return self.masked(ty, at, image);
        }
        let width = ty.bits() as usize / 8;
        match (ty, self.expression()?) {
            (Type::B(_) | Type::U(_) | Type::S(_), Value::Integer { bits, unsigned }) => {
                let wide = if unsigned { u128::from(bits) } else { bits as i64 as i128 as u128 };
                self.put(token, at, &wide.to_le_bytes()[..width], image)
            }
            (Type::F(32) | Type::B(32), Value::F32(bits)) => self.put(token, at, &bits.to_le_bytes(), image),
            (Type::F(32), Value::F64(x)) => self.put(token, at, &(x as f32).to_le_bytes(), image),
            (Type::F(64) | Type::B(64), Value::F64(x)) => self.put(token, at, &x.to_le_bytes(), image),
            (Type::F(64), Value::F32(bits)) => {
                self.put(token, at, &f64::from(f32::from_bits(bits)).to_le_bytes(), image)
            }
            (Type::B(_) | Type::U(_) | Type::S(_), Value::Address { base, offset })
                if matches!(width, 4 | 8) =>
            {
                self.relocate(token, base, offset, (at, width as u8, 0), image)
            }
            (_, Value::Address { .. }) => {
                self.fail(token, "an address needs an integer element of 4 or 8 bytes")
            }
            (Type::F(_), _) => {
                self.fail(token, "a variable of a float type needs a float: `1.0` or `0f3F800000`")
            }
            _ => self.fail(token, "a variable of an integer type needs an integer"),
        }
    }

    /// `0xFF00(name)`: one byte of an address.
    fn masked(&mut self, ty: Type, at: u64, image: &mut Image) -> Read<()> {
        let token = self.token();
        let mask = self.directive_integer("a mask")?;
        self.expect(b'(', "after the mask of an address")?;
        let value = self.expression()?;
        self.expect(b')', "after the address that is masked")?;
        let shift = mask.checked_shr(mask.trailing_zeros()).unwrap_or(0);
        if shift != 0xff || ty.bits() != 8 {
            return self.fail(token, "a mask takes one byte of an address, for an element of one byte");
        }
        match value {
            Value::Address { base, offset } => self.relocate(token, base, offset, (at, 1, mask), image),
            _ => self.fail(token, "only an address is masked"),
        }
    }

    fn relocate(
        &mut self,
        token: Token,
        base: Base,
        addend: u64,
        place: (u64, u8, u64),
        image: &mut Image,
    ) -> Read<()> {
        let (target, generic) = match base {
            Base::Symbol(id, generic) => (RelocationTarget::Symbol(id), generic),
            Base::Function(id, generic) => (RelocationTarget::Function(id), generic),
            Base::Register(_) => return self.fail(token, "a register is no initial value"),
        };
        let (at, width, mask) = place;
        self.put(token, at, &[0; 8][..usize::from(width)], image)?;
        image.relocations.push(Relocation { at, width, target, addend: addend as i64, generic, mask });
        Ok(())
    }

    /// Puts bytes at an offset. Rows that are given in part leave gaps, which a short text could make huge: what all
    /// images take together is bounded.
    fn put(&mut self, token: Token, at: u64, bytes: &[u8], image: &mut Image) -> Read<()> {
        let end = at.saturating_add(bytes.len() as u64);
        let more = end.saturating_sub(image.bytes.len() as u64);
        if more > self.image_left {
            return self.fail(token, "the initial values of this text leave too large gaps between them");
        }
        self.image_left -= more;
        if more > 0 {
            image.bytes.resize(end as usize, 0);
        }
        image.bytes[at as usize..end as usize].copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes from one element of dimension `level` to the next.
fn stride(declarator: &Declarator<'_>, level: usize) -> u64 {
    let element = u64::from(declarator.shape.ty.bits().div_ceil(8));
    declarator.dimensions[level + 1..].iter().flatten().fold(element, |size, n| size.saturating_mul(*n))
}

/// The bytes of a quoted string, with C's escapes.
pub(super) fn unescape(quoted: &str) -> Vec<u8> {
    let inner = quoted.strip_prefix('"').unwrap_or(quoted);
    let inner = inner.strip_suffix('"').unwrap_or(inner).as_bytes();
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let digits = |rest: &mut std::iter::Peekable<_>, radix: u32, most: usize, first: u32| {
            let mut value = first;
            for _ in 0..most {
                let next = |byte: &u8| char::from(*byte).is_digit(radix);
                let Some(digit): Option<u8> = std::iter::Peekable::next_if(rest, next) else { break };
                value = value * radix + char::from(digit).to_digit(radix).unwrap_or(0);
            }
            value as u8
        };
        let escaped = match rest.next() {
            None => b'\\',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'a') => 7,
            Some(b'b') => 8,
            Some(b'v') => 11,
            Some(b'f') => 12,
            Some(b'x') => digits(&mut rest, 16, 2, 0),
            Some(first @ b'0'..=b'7') => digits(&mut rest, 8, 2, u32::from(first - b'0')),
            Some(other) => other,
        };
        bytes.push(escaped);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_are_those_of_c() {
        assert_eq!(unescape(r#""a\n\x41\101\"\\\0z""#), b"a\nAA\"\\\0z");
        assert_eq!(unescape(r#""\x4""#), b"\x04");
        assert_eq!(unescape("\"\\"), b"\\");
    }
}
