//! Arithmetic of requests: sectors of global memory, passes through the banks of shared memory.

/// Bytes of a sector, the smallest piece that global memory moves.
pub const SECTOR: u64 = 32;
/// Banks of shared memory, each four bytes wide.
pub const BANKS: usize = 32;

/// What a request of a warp costs in global memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sectors {
    /// Sectors touched.
    pub touched: u64,
    /// Sectors that would do if the distinct bytes lay side by side.
    pub ideal: u64,
}

/// Sectors of a request in which each lane of a mask asks for `bytes` at its address.
pub fn sectors(addresses: &[u64; 32], mask: u32, bytes: u32) -> Sectors {
    let bytes = u64::from(bytes.max(1));
    let mut list = [0u64; 32];
    let mut count = 0;
    let mut ordered = true;
    for lane in crate::exec::lanes(mask) {
        list[count] = addresses[lane];
        ordered &= count == 0 || list[count - 1] <= list[count];
        count += 1;
    }
    let list = &mut list[..count];
    if !ordered {
        list.sort_unstable();
    }
    let (mut distinct, mut touched) = (0, 0);
    // One past the bytes and the sectors seen so far.
    let (mut end, mut next) = (0u64, 0u64);
    for &mut address in list {
        let last = address.saturating_add(bytes);
        distinct += last.saturating_sub(address.max(end));
        end = end.max(last);
        let (from, to) = ((address / SECTOR).max(next), (last - 1) / SECTOR + 1);
        touched += to.saturating_sub(from);
        next = next.max(to);
    }
    Sectors { touched, ideal: distinct.div_ceil(SECTOR) }
}

/// Sectors of a run of bytes.
pub fn sectors_of_range(address: u64, bytes: u64) -> Sectors {
    match address.checked_add(bytes) {
        Some(end) if bytes > 0 => {
            Sectors { touched: end.div_ceil(SECTOR) - address / SECTOR, ideal: bytes.div_ceil(SECTOR) }
        }
        _ => Sectors::default(),
    }
}

/// What a request of a warp costs in shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wavefronts {
    /// Passes through the banks.
    pub passes: u64,
    /// Passes that would do if no two words were in the same bank.
    pub ideal: u64,
}

impl std::ops::AddAssign for Wavefronts {
    fn add_assign(&mut self, other: Self) {
        self.passes += other.passes;
        self.ideal += other.ideal;
    }
}

/// Passes of a request in which each lane of a mask asks for `bytes` at its shared address.
///
/// Lanes are served in phases of as many lanes as fill 128 bytes: the whole warp for up to four bytes, halves for eight,
/// quarters for sixteen. `ldmatrix` and `stmatrix` are accesses of 16 bytes whose phases are matrices of eight rows. In
/// a phase a bank gives one word at a time, and all lanes that want that word get it.
/// A phase without lanes costs nothing.
pub fn wavefronts(addresses: &[u64; 32], mask: u32, bytes: u32) -> Wavefronts {
    let bytes = bytes.max(1);
    let lanes = (128 / bytes.next_power_of_two()).clamp(1, 32);
    phases(addresses, mask, bytes, lanes)
}

/// Passes of atomic operations: lanes that want the same word are served one after another.
pub fn atomic_wavefronts(addresses: &[u64; 32], mask: u32, bytes: u32) -> Wavefronts {
    let bytes = bytes.max(1);
    let lanes = (128 / bytes.next_power_of_two()).clamp(1, 32);
    let mut sum = Wavefronts::default();
    for first in (0..32).step_by(lanes as usize) {
        let part = mask & phase_mask(first, lanes);
        if part == 0 {
            continue;
        }
        let mut banks = [0u8; BANKS];
        for lane in crate::exec::lanes(part) {
            words(addresses[lane], bytes).for_each(|w| banks[bank(w)] += 1);
        }
        sum.passes += u64::from(banks.iter().copied().max().unwrap_or(0));
        sum.ideal += phases(addresses, part, bytes, lanes).ideal;
    }
    sum
}

fn phase_mask(first: u32, lanes: u32) -> u32 {
    (u32::MAX >> (32 - lanes)) << first
}

fn words(address: u64, bytes: u32) -> std::ops::RangeInclusive<u64> {
    address / 4..=address.saturating_add(u64::from(bytes) - 1) / 4
}

fn bank(word: u64) -> usize {
    (word % BANKS as u64) as usize
}

fn phases(addresses: &[u64; 32], mask: u32, bytes: u32, lanes: u32) -> Wavefronts {
    let mut sum = Wavefronts::default();
    for first in (0..32).step_by(lanes as usize) {
        let part = mask & phase_mask(first, lanes);
        if part != 0 {
            sum += phase(addresses, part, bytes);
        }
    }
    sum
}

/// One phase. Most phases have no conflict and need a single look at each word.
fn phase(addresses: &[u64; 32], mask: u32, bytes: u32) -> Wavefronts {
    // The first word of each bank, and words that found their bank taken by another one.
    let mut held = [u64::MAX; BANKS];
    let mut extra: Vec<u64> = Vec::new();
    let mut distinct = 0u64;
    for lane in crate::exec::lanes(mask) {
        for word in words(addresses[lane], bytes) {
            let slot = &mut held[bank(word)];
            if *slot == u64::MAX {
                *slot = word;
                distinct += 1;
            } else if *slot != word {
                extra.push(word);
            }
        }
    }
    let mut passes = 1;
    if !extra.is_empty() {
        extra.sort_unstable();
        extra.dedup();
        distinct += extra.len() as u64;
        let mut banks = [1u64; BANKS];
        extra.iter().for_each(|w| banks[bank(*w)] += 1);
        passes = banks.into_iter().max().unwrap_or(1);
    }
    Wavefronts { passes, ideal: distinct.div_ceil(BANKS as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn lanes(f: impl Fn(u64) -> u64) -> [u64; 32] {
        std::array::from_fn(|l| f(l as u64))
    }

    /// By the definition: every byte of every lane.
    fn bytes_of(addresses: &[u64; 32], mask: u32, bytes: u32) -> BTreeSet<u64> {
        let mut all = BTreeSet::new();
        for lane in 0..32 {
            if mask >> lane & 1 == 1 {
                (0..u64::from(bytes)).for_each(|b| {
                    all.insert(addresses[lane] + b);
                });
            }
        }
        all
    }

    /// By simulation: in each pass every bank gives one word to all who want it, until nobody wants any.
    fn simulated(addresses: &[u64; 32], mask: u32, bytes: u32, lanes_of_phase: usize) -> u64 {
        let mut passes = 0;
        for first in (0..32).step_by(lanes_of_phase) {
            let mut wanted: Vec<u64> = Vec::new();
            for lane in first..first + lanes_of_phase {
                if mask >> lane & 1 == 1 {
                    wanted.extend((0..u64::from(bytes)).map(|b| (addresses[lane] + b) / 4));
                }
            }
            while !wanted.is_empty() {
                passes += 1;
                for bank in 0..32 {
                    if let Some(word) = wanted.iter().copied().find(|w| w % 32 == bank) {
                        wanted.retain(|w| *w != word);
                    }
                }
            }
        }
        passes
    }

    #[test]
    fn known_patterns_cost_what_the_hardware_documents() {
        let all = u32::MAX;
        let of = |f: &dyn Fn(u64) -> u64, bytes| {
            let w = wavefronts(&lanes(f), all, bytes);
            (w.passes, w.ideal)
        };
        assert_eq!(of(&|l| 4 * l, 4), (1, 1), "consecutive words");
        assert_eq!(of(&|_| 64, 4), (1, 1), "broadcast");
        assert_eq!(of(&|l| 8 * l, 4), (2, 1), "stride of two words");
        assert_eq!(of(&|l| 128 * l, 4), (32, 1), "a column of a matrix of 32 words");
        assert_eq!(of(&|l| 132 * l, 4), (1, 1), "the same, padded by a word");
        assert_eq!(of(&|l| 8 * l, 8), (2, 2), "consecutive 64-bit words in halves");
        assert_eq!(of(&|l| 16 * l, 16), (4, 4), "consecutive 128-bit words in quarters");
        assert_eq!(of(&|l| 128 * l, 16), (32, 4), "the same 16 bytes of 32 rows");
        assert_eq!(of(&|l| l, 1), (1, 1), "bytes of eight words");
        assert_eq!(wavefronts(&lanes(|l| 4 * l), 0, 4), Wavefronts::default());
    }

    #[test]
    fn rows_of_a_matrix_conflict_unless_swizzled() {
        let straight = wavefronts(&lanes(|l| 128 * (l % 8) + 16 * (l / 8)), u32::MAX, 16);
        assert_eq!((straight.passes, straight.ideal), (32, 4));
        let swizzled = lanes(|l| 128 * (l % 8) + 16 * ((l / 8) ^ (l % 8)));
        let swizzled = wavefronts(&swizzled, u32::MAX, 16);
        assert_eq!((swizzled.passes, swizzled.ideal), (4, 4));
        assert_eq!(wavefronts(&lanes(|l| 16 * l), 0xff, 16).passes, 1);
    }

    #[test]
    fn atomics_on_one_word_are_served_one_by_one() {
        assert_eq!(atomic_wavefronts(&[64; 32], u32::MAX, 4), Wavefronts { passes: 32, ideal: 1 });
        assert_eq!(atomic_wavefronts(&lanes(|l| 4 * l), u32::MAX, 4), Wavefronts { passes: 1, ideal: 1 });
        assert_eq!(atomic_wavefronts(&[64; 32], 0b101, 4), Wavefronts { passes: 2, ideal: 1 });
    }

    #[test]
    fn known_requests_touch_the_sectors_one_expects() {
        let of = |f: &dyn Fn(u64) -> u64, bytes| sectors(&lanes(f), u32::MAX, bytes);
        assert_eq!(of(&|l| 0x1000 + 4 * l, 4), Sectors { touched: 4, ideal: 4 });
        assert_eq!(of(&|l| 0x1010 + 4 * l, 4), Sectors { touched: 5, ideal: 4 });
        assert_eq!(of(&|l| 0x1000 + 16 * l, 16), Sectors { touched: 16, ideal: 16 });
        assert_eq!(of(&|l| 0x1000 + 256 * l, 4), Sectors { touched: 32, ideal: 4 });
        assert_eq!(of(&|_| 0x1000, 4), Sectors { touched: 1, ideal: 1 });
    }

    proptest! {
        #[test]
        fn sectors_are_those_of_the_bytes(
            base in 0u64..1 << 40, offsets in prop::array::uniform32(0u64..4096), mask: u32,
            bytes in prop::sample::select(vec![1u32, 2, 4, 8, 16, 32]), aligned: bool,
        ) {
            let addresses = offsets.map(|o| if aligned { (base + o) / u64::from(bytes) * u64::from(bytes) } else { base + o });
            let all = bytes_of(&addresses, mask, bytes);
            let touched = all.iter().map(|b| b / 32).collect::<BTreeSet<_>>().len() as u64;
            prop_assert_eq!(sectors(&addresses, mask, bytes), Sectors { touched, ideal: all.len().div_ceil(32) as u64 });
        }

        #[test]
        fn sectors_of_a_range_are_those_of_its_bytes(address in 0u64..1 << 40, bytes in 0u64..3000) {
            let touched = (address..address + bytes).map(|b| b / 32).collect::<BTreeSet<_>>().len() as u64;
            prop_assert_eq!(sectors_of_range(address, bytes), Sectors { touched, ideal: bytes.div_ceil(32) });
        }

        #[test]
        fn passes_are_those_of_a_simulated_bank_by_bank_service(
            offsets in prop::array::uniform32(0u64..512), mask: u32,
            bytes in prop::sample::select(vec![1u32, 2, 4, 8, 16]),
        ) {
            let addresses = offsets.map(|o| o * u64::from(bytes));
            let lanes = match bytes { 16 => 8, 8 => 16, _ => 32 };
            let got = wavefronts(&addresses, mask, bytes);
            prop_assert_eq!(got.passes, simulated(&addresses, mask, bytes, lanes));
            prop_assert!(got.ideal <= got.passes);
        }
    }
}
