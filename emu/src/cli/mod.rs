//! The command `jet-emu`: arguments, tensors in and out.
