//! What is given to the driver to load: a cubin that is all there, or PTX that ends where it should.

/// A module's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// Machine code.
    Cubin(Vec<u8>),
    /// Text that the driver compiles, with the zero byte that ends it.
    Ptx(Vec<u8>),
}

impl Image {
    /// A cubin. The driver finds its end from its header, so the header must not point beyond.
    pub fn cubin(bytes: &[u8]) -> Result<Image, String> {
        let short = || format!("{} bytes are no cubin: it is cut or damaged", bytes.len());
        let number = |at: usize, n: usize| {
            let part = bytes.get(at..at + n)?;
            Some(part.iter().rev().fold(0u64, |w, b| w << 8 | u64::from(*b)))
        };
        if !bytes.starts_with(b"\x7fELF\x02") {
            return Err(short());
        }
        // A table of program headers and one of section headers: where, entries' size, how many.
        for [at, size, count] in [[0x20, 0x36, 0x38], [0x28, 0x3a, 0x3c]] {
            let table = || Some((number(at, 8)?, number(size, 2)?, number(count, 2)?));
            let (at, size, count) = table().ok_or_else(short)?;
            let end = at.checked_add(size * count).ok_or_else(short)?;
            if end > bytes.len() as u64 {
                return Err(short());
            }
        }
        Ok(Image::Cubin(bytes.to_vec()))
    }

    /// PTX.
    pub fn ptx(text: &str) -> Result<Image, String> {
        if text.contains('\0') {
            return Err("a zero byte in PTX".to_owned());
        }
        Ok(Image::Ptx([text.as_bytes(), b"\0"].concat()))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Image::Cubin(b) | Image::Ptx(b) => b,
        }
    }
}

/// The images of a compiled source in the order they are tried.
pub fn images(cubin: &[u8], ptx: &str) -> Result<Vec<Image>, String> {
    let mut images = Vec::new();
    if !cubin.is_empty() {
        images.push(Image::cubin(cubin)?);
    }
    if !ptx.is_empty() {
        images.push(Image::ptx(ptx)?);
    }
    if images.is_empty() { Err("neither a cubin nor PTX".to_owned()) } else { Ok(images) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The least that passes for a cubin: a header and a table of one section.
    pub(crate) fn elf() -> Vec<u8> {
        let mut b = vec![0u8; 128];
        b[..5].copy_from_slice(b"\x7fELF\x02");
        b[0x28] = 64;
        b[0x3a] = 64;
        b[0x3c] = 1;
        b
    }

    #[test]
    fn a_cubin_is_tried_first_and_ptx_ends_with_a_zero() {
        let tried = images(&elf(), ".version 8.0").unwrap();
        assert_eq!(tried, [Image::Cubin(elf()), Image::Ptx(b".version 8.0\0".to_vec())]);
        assert_eq!(images(&[], "x").unwrap().len(), 1);
        assert!(images(&[], "").is_err());
        assert!(Image::ptx("a\0b").is_err());
    }

    #[test]
    fn a_cut_cubin_never_reaches_the_driver() {
        for len in 0..elf().len() {
            assert!(Image::cubin(&elf()[..len]).is_err(), "{len}");
        }
        let mut wild = elf();
        wild[0x28..0x30].fill(0xff);
        assert!(Image::cubin(&wild).is_err());
    }
}
