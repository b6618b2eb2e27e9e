//! Philox4x32 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and the streams jet draws
//! from it.
//!
//! The generator is a function from a counter and a key to four words: any element of any stream can be computed
//! without the ones before it, in any order and on any device. A [`Stream`] is named by a seed, a [`Tag`] for its
//! use, a layer and a unit; the key is the seed, block `j` has the counter `(j, hi, unit, tag·2²⁴ + layer)`, and
//! word `e` is lane `e mod 4` of block `e / 4`.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// `ROUNDS` rounds of Philox4x32 on `counter` with `key`; jet uses ten.
pub const fn philox4x32<const ROUNDS: u32>(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    let mut round = 0;
    while round < ROUNDS {
        if round > 0 {
            k0 = k0.wrapping_add(KEY_STEPS[0]);
            k1 = k1.wrapping_add(KEY_STEPS[1]);
        }
        let p0 = MULTIPLIERS[0] as u64 * c0 as u64;
        let p1 = MULTIPLIERS[1] as u64 * c2 as u64;
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        round += 1;
    }
    [c0, c1, c2, c3]
}

/// What a stream is for, so that no two uses of one seed share words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Directions of random features.
    RfGauss = 1,
    /// Lengths of random features.
    RfNorm = 2,
    /// Stochastic rounding.
    StochasticRounding = 3,
    /// Dropout.
    Dropout = 4,
    /// Signs of the random Hadamard transform.
    RhtSign = 5,
    /// Initial weights.
    Init = 6,
    /// Data: sampling of tokens, synthetic inputs.
    Data = 7,
    /// Reserved for safety checks.
    Safety = 8,
    /// Engram hashing.
    Engram = 9,
}

/// A stream of random words that can be read at any position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
    hi: u32,
    unit: u32,
    place: u32,
}

impl Stream {
    /// The stream of `seed` for `tag`, `layer` (below 2²⁴; higher bits are dropped) and `unit`.
    pub const fn new(seed: u64, tag: Tag, layer: u32, unit: u32) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            hi: 0,
            unit,
            place: (tag as u32) << 24 | layer & 0x00FF_FFFF,
        }
    }

    /// The same stream at another step (stochastic rounding and dropout count steps), or at blocks beyond 2³².
    pub const fn at_step(self, hi: u32) -> Self {
        Self { hi, ..self }
    }

    /// The four words of block `j`.
    pub const fn block(&self, j: u32) -> [u32; 4] {
        philox4x32::<10>([j, self.hi, self.unit, self.place], self.key)
    }

    /// Word `e`; its block is `e / 4` modulo 2³².
    pub const fn word(&self, e: u64) -> u32 {
        self.block((e / 4) as u32)[(e % 4) as usize]
    }

    /// Element `e`, uniform in (0, 1): `((w >> 9) + 0.5)·2⁻²³`, exact in float32.
    pub const fn uniform(&self, e: u64) -> f32 {
        u01(self.word(e))
    }

    /// The first `n` uniform elements.
    pub fn uniforms(&self, n: usize) -> Vec<f32> {
        self.words(n).map(u01).collect()
    }

    /// Element `e` of the integers in `lo..hi`; `lo` where the range is empty.
    pub fn integer(&self, e: u64, lo: i64, hi: i64) -> i64 {
        let span = i128::from(hi) - i128::from(lo);
        if span <= 0 { lo } else { (i128::from(lo) + ((i128::from(self.word(e)) * span) >> 32)) as i64 }
    }

    /// Element `e` of the signs, +1 or −1.
    pub const fn sign(&self, e: u64) -> i8 {
        if self.word(e) & 1 == 1 { -1 } else { 1 }
    }

    /// Fills `out` with standard normal elements `first ..`, by Box and Muller in f64, rounded once. Words `2i`
    /// and `2i + 1` give the elements of the same numbers. `|n| <= 5.77`.
    pub fn normals_at(&self, first: u64, out: &mut [f32]) {
        let mut e = first;
        let mut i = 0;
        while i < out.len() {
            let block = self.block((e / 4) as u32);
            let lane = (e % 4) as usize;
            let values = normals(block);
            let n = (4 - lane).min(out.len() - i);
            out[i..i + n].copy_from_slice(&values[lane..lane + n]);
            i += n;
            e += n as u64;
        }
    }

    /// Fills `out` with uniform elements `first ..` in (0, 1).
    pub fn uniforms_at(&self, first: u64, out: &mut [f32]) {
        for (i, o) in out.iter_mut().enumerate() {
            *o = self.uniform(first + i as u64);
        }
    }

    /// The first `n` words.
    pub fn words(&self, n: usize) -> impl Iterator<Item = u32> {
        let stream = *self;
        (0..n.div_ceil(4)).flat_map(move |j| stream.block(j as u32)).take(n)
    }
}

const fn u01(word: u32) -> f32 {
    ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0)
}

/// Four normal values from the words of a block, two pairs.
fn normals(words: [u32; 4]) -> [f32; 4] {
    let pair = |a: u32, b: u32| {
        let r = (-2.0 * f64::from(u01(a)).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * f64::from(u01(b))).sin_cos();
        [(r * cos) as f32, (r * sin) as f32]
    };
    let ([a, b], [c, d]) = (pair(words[0], words[1]), pair(words[2], words[3]));
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    // Known answers published with the generator (Random123).
    #[test]
    fn agrees_with_the_published_answers() {
        let pi = ([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]);
        assert_eq!(philox4x32::<10>([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32::<10>([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(philox4x32::<10>(pi.0, pi.1), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
        assert_eq!(philox4x32::<7>([0; 4], [0; 2]), [0x5f6f_b709, 0x0d89_3f64, 0x4f12_1f81, 0x4f73_0a48]);
        assert_eq!(philox4x32::<7>(pi.0, pi.1), [0x4dfc_caba, 0x190a_87f0, 0xc473_62ba, 0xb6b5_242a]);
    }

    #[test]
    fn any_position_agrees_with_the_whole() {
        let s = Stream::new(0x1234_5678_9abc_def0, Tag::Init, 3, 9);
        let mut all = [0.0; 41];
        s.normals_at(0, &mut all);
        for first in 0..20 {
            let mut some = [0.0; 21];
            s.normals_at(first, &mut some);
            assert_eq!(some[..], all[first as usize..first as usize + 21]);
        }
        let words: Vec<u32> = s.words(13).collect();
        assert!((0..13).all(|e| s.word(e as u64) == words[e]));
    }

    #[test]
    fn integers_and_signs_stay_in_range() {
        let s = Stream::new(1, Tag::Data, 0, 0);
        assert!((0..1000).all(|e| (-5..12).contains(&s.integer(e, -5, 12))));
        assert_eq!(s.integer(0, 7, 7), 7);
        assert!((0..100).all(|e| (i64::MIN..i64::MAX).contains(&s.integer(e, i64::MIN, i64::MAX))));
        assert!((0..64).any(|e| s.sign(e) == 1) && (0..64).any(|e| s.sign(e) == -1));
    }
}
