//! The instruction set: one table of forms, one file a family, decoding from text to compact form.
