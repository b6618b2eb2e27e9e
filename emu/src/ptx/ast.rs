//! What the reader gives: a module with names resolved, instructions still as opcode, modifiers and operands.
//!
//! The reader knows the grammar and the scopes, not the instruction set: it never asks what a modifier means. Registers
//! are numbered per function over all scopes, so an inner `%p1` that shadows an outer one is a different [`RegId`].
//! Labels are indices of instructions. What instructions exist is the business of `isa`.

/// A whole PTX text.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// `.version major.minor`.
    pub version: (u32, u32),
    /// The words of `.target`, the first of which is the architecture (`sm_90a`).
    pub target: Vec<String>,
    /// `.address_size`, 64 where absent.
    pub address_size: u32,
    /// Variables in the order of the text: those of module scope, parameters of functions, and those declared in bodies
    /// (`.shared`, `.local`, `.global`, …, and the `.param` declared at call sites); a [`SymbolId`] is an index of this
    /// list, and [`Variable::function`] tells whose they are.
    pub variables: Vec<Variable>,
    /// All functions, entries and device functions, declared or defined; one entry a name. Where one is an `.alias`, what
    /// calls or names it does so to the function that it stands for.
    pub functions: Vec<Function>,
    /// `.file` index and name.
    pub files: Vec<(u32, String)>,
}

/// Index into [`Module::variables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SymbolId(pub u32);

/// Index into [`Function::registers`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RegId(pub u32);

/// Index into [`Module::functions`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub u32);

/// A state space that a variable can be declared in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// `.global`
    Global,
    /// `.const`
    Const,
    /// `.shared`
    Shared,
    /// `.local`
    Local,
    /// `.param`
    Param,
}

/// A fundamental type: letter and width. `B128` and `Pred` included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// A predicate.
    Pred,
    /// Untyped bits of a width in bits: 8, 16, 32, 64 or 128.
    B(u8),
    /// Unsigned integer of a width in bits.
    U(u8),
    /// Signed integer of a width in bits.
    S(u8),
    /// Binary float of a width in bits: 16, 32 or 64.
    F(u8),
    /// `.f16x2`
    F16x2,
    /// `.bf16`
    Bf16,
    /// `.bf16x2`
    Bf16x2,
}

impl Type {
    /// Width in bits; 1 for a predicate.
    pub fn bits(self) -> u32 {
        match self {
            Type::Pred => 1,
            Type::B(n) | Type::U(n) | Type::S(n) | Type::F(n) => u32::from(n),
            Type::F16x2 | Type::Bf16x2 => 32,
            Type::Bf16 => 16,
        }
    }
}

/// A variable in memory.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name as written.
    pub name: String,
    /// Where it lives.
    pub space: Space,
    /// Element type.
    pub ty: Type,
    /// Bytes in all: the element times vector length times every dimension; 0 for `extern .shared x[]`.
    pub size: u64,
    /// Alignment in bytes: `.align`, else the natural one.
    pub align: u32,
    /// Initial bytes (shorter than `size`: the tail is zero). Empty: none given.
    pub init: Vec<u8>,
    /// Places in `init` that hold an address, to be filled in when addresses are known.
    pub relocations: Vec<Relocation>,
    /// `.extern`, or an unsized array: where the bytes come from the launch or another module.
    pub external: bool,
    /// The function whose body declares it; `None` at module scope.
    pub function: Option<FunctionId>,
    /// `.attribute(.managed)` and the like are accepted and dropped. Line of the declaration.
    pub line: u32,
}

/// An address inside an initialiser.
#[derive(Debug, Clone)]
pub struct Relocation {
    /// Byte offset in the initialiser.
    pub at: u64,
    /// Bytes to write: 1 (with `mask`), 4 or 8.
    pub width: u8,
    /// What it points to.
    pub target: RelocationTarget,
    /// Added to the address.
    pub addend: i64,
    /// `generic(sym)`: the generic address and not the one in the variable's own space.
    pub generic: bool,
    /// `mask(sym)`: which bits of the address, shifted down; 0 where absent.
    pub mask: u64,
}

/// What an initialiser's address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelocationTarget {
    /// A variable.
    Symbol(SymbolId),
    /// A function: its handle.
    Function(FunctionId),
}

/// A parameter of a function, or a value it returns.
#[derive(Debug, Clone)]
pub struct Param {
    /// The variable that stands for it inside the body (space `Param`), or for a `.reg` parameter, its register.
    pub storage: ParamStorage,
    /// `.ptr` with its space and alignment, as advice.
    pub ptr: bool,
}

/// Where a parameter lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamStorage {
    /// `.param`: bytes.
    Memory(SymbolId),
    /// `.reg`: a register of the function.
    Register(RegId),
}

/// Launch bounds and other directives between a signature and its body.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// `.maxntid x, y, z` (missing dimensions are 1).
    pub maxntid: Option<[u32; 3]>,
    /// `.reqntid`.
    pub reqntid: Option<[u32; 3]>,
    /// `.minnctapersm`.
    pub minnctapersm: Option<u32>,
    /// `.maxnreg`.
    pub maxnreg: Option<u32>,
    /// `.reqnctapercluster`.
    pub reqnctapercluster: Option<[u32; 3]>,
    /// `.explicitcluster`.
    pub explicitcluster: bool,
    /// `.maxclusterrank`.
    pub maxclusterrank: Option<u32>,
    /// `.noreturn`.
    pub noreturn: bool,
}

/// An entry or a device function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// `.entry`, else `.func`.
    pub entry: bool,
    /// Values returned.
    pub returns: Vec<Param>,
    /// Parameters in order.
    pub params: Vec<Param>,
    /// Launch bounds.
    pub bounds: Bounds,
    /// Every register of every scope of the body.
    pub registers: Vec<Register>,
    /// The instructions, flat; `None` for a declaration without body (`vprintf`, …).
    pub body: Option<Vec<Instruction>>,
    /// Labels and where they stand (index of the instruction that follows; `body.len()` at the end).
    pub labels: Vec<(String, usize)>,
    /// `name: .branchtargets A, B;` lists, resolved to instruction indices.
    pub branch_targets: Vec<Vec<usize>>,
    /// `name: .callprototype …` and `.calltargets`; an index is the operand of an indirect call.
    pub prototypes: Vec<Prototype>,
    /// Line of the signature.
    pub line: u32,
}

/// A register.
#[derive(Debug, Clone)]
pub struct Register {
    /// As written, `%r12`.
    pub name: String,
    /// Declared type. The instruction's type decides what is done with it; this only says how wide it is.
    pub ty: Type,
}

/// The shape of an indirect call.
#[derive(Debug, Clone, Default)]
pub struct Prototype {
    /// Bytes of each value returned.
    pub returns: Vec<u64>,
    /// Bytes of each parameter.
    pub params: Vec<u64>,
    /// Functions that `.calltargets` allows; empty for a `.callprototype`.
    pub targets: Vec<FunctionId>,
}

/// `@%p` or `@!%p`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guard {
    /// The predicate register.
    pub register: RegId,
    /// Whether it is negated.
    pub negated: bool,
}

/// One instruction.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// Its guard.
    pub guard: Option<Guard>,
    /// The word before the first dot: `mma`, `cp`, `wgmma`, `barrier`, `bar`.
    pub opcode: String,
    /// The words after it in order, without their dots: `["sync", "aligned", "m16n8k16", …]`, `shared::cta` as one word.
    pub modifiers: Vec<String>,
    /// Operands in order. For `call`: `[returns as List, callee, arguments as List, prototype]`, lists always there.
    pub operands: Vec<Operand>,
    /// Line in the PTX text, from 1.
    pub line: u32,
    /// The `.loc` in force: file index, line, column.
    pub loc: Option<(u32, u32, u32)>,
}

/// An operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// A register.
    Register(RegId),
    /// `!%p`.
    Not(RegId),
    /// `_`.
    Sink,
    /// `d|p`.
    Pair(Box<Operand>, Box<Operand>),
    /// An integer constant, as its 64 bits in two's complement.
    Integer(u64),
    /// `0f3F800000`: the bits.
    F32(u32),
    /// `0d…` or a decimal float: the bits.
    F64(u64),
    /// A special register without its percent sign, component included: `tid.x`, `laneid`, `clock64`; and `WARP_SZ`.
    Special(String),
    /// A variable's name as a value (`mov.u64 %rd, sym`), plus an offset.
    Symbol(SymbolId, i64),
    /// A function's name as a value or callee.
    Function(FunctionId),
    /// `[base + offset]`.
    Address(AddressBase, i64),
    /// `[a, b]`, the address of a tensor copy: the map as an [`Operand::Address`], then what follows (coordinates as a
    /// vector).
    AddressList(Vec<Operand>),
    /// `{a, b, c}`.
    Vector(Vec<Operand>),
    /// `(a, b)` of a call.
    List(Vec<Operand>),
    /// A label: index of the instruction that it stands before.
    Label(usize),
    /// Index into [`Function::branch_targets`].
    BranchTargets(usize),
    /// Index into [`Function::prototypes`].
    Prototype(usize),
}

/// What an address starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressBase {
    /// A register.
    Register(RegId),
    /// A variable or parameter.
    Symbol(SymbolId),
    /// Nothing: the offset is the address.
    Absolute,
}
