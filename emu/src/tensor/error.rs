//! What can be wrong with a tensor instruction, a descriptor or a tensor map.

/// Why a tensor instruction cannot be formed or executed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// No such combination of shape and types exists.
    #[error("{instruction} has no form {found}; {expected}")]
    Form {
        /// The mnemonic.
        instruction: &'static str,
        /// The shape and types that were asked for.
        found: String,
        /// What would be accepted instead.
        expected: &'static str,
    },
    /// The number of registers of an operand does not fit the form.
    #[error("operand {operand} has {found} registers, this form takes {expected}")]
    Registers {
        /// Name of the operand: a, b, c, d.
        operand: &'static str,
        /// Registers given.
        found: usize,
        /// Registers that the form has.
        expected: usize,
    },
    /// A scale selector names a byte or lane that does not exist.
    #[error("scale selector {{{byte}, {thread}}} of operand {operand}: {expected}")]
    Selector {
        /// Name of the operand: a or b.
        operand: &'static str,
        /// The byte-id.
        byte: u16,
        /// The thread-id.
        thread: u16,
        /// What would be accepted.
        expected: &'static str,
    },
    /// A matrix descriptor leads outside of shared memory.
    #[error("matrix {operand} reads 16 bytes at shared address {address:#x}, outside of shared memory")]
    OutOfShared {
        /// Name of the operand: a or b.
        operand: &'static str,
        /// The address after the swizzle.
        address: u32,
    },
    /// A field of a tensor map, or an operand used with one, breaks a constraint.
    #[error("tensor map: {field} is {found}, expected {expected}")]
    Map {
        /// The field, in the words of the driver's encoder.
        field: &'static str,
        /// What it is.
        found: String,
        /// What the constraint asks for.
        expected: String,
    },
    /// A feature of tensor maps that is not emulated.
    #[error("tensor map: {0} is not supported")]
    MapUnsupported(&'static str),
    /// The 128 bytes are not a tensor map of this emulator.
    #[error("these 128 bytes are not a tensor map: {0}")]
    NotAMap(&'static str),
}
