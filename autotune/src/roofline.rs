//! The least time that a run can take on a CPU: what it must read, at the speed of its memory.
//!
//! Only for problems that are much larger than the last cache; others are bound by arithmetic and by caches, about which
//! nothing is claimed.

use std::sync::OnceLock;
use std::time::Instant;

/// Bytes that each thread reads in one pass: far more than its share of any cache.
const BYTES: usize = 32 << 20;

/// A problem is memory's when it is larger than the last cache by this factor.
const LARGER: u64 = 4;

/// The bytes of a size as the system writes it: `1024K`.
pub(crate) fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Seconds that a run must take which reads `bytes`, where the last cache has `cache` bytes and memory gives `per_second`.
pub(crate) fn bound(bytes: u64, cache: u64, per_second: f64) -> Option<f64> {
    (cache > 0 && bytes > LARGER * cache && per_second > 0.0).then(|| bytes as f64 / per_second)
}

/// [`read_bandwidth`], measured once in a process.
pub(crate) fn bandwidth(threads: usize) -> f64 {
    static ONCE: OnceLock<f64> = OnceLock::new();
    *ONCE.get_or_init(|| read_bandwidth(threads))
}

/// Bytes per second that `threads` threads read from memory together, the best of a few passes: a comparison of two
/// regions, which is the library's fastest loop in any build and writes nothing.
fn read_bandwidth(threads: usize) -> f64 {
    let pairs: Vec<[Vec<u8>; 2]> =
        (0..threads.max(1)).map(|_| [vec![1; BYTES / 2], vec![1; BYTES / 2]]).collect();
    let pass = || {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for pair in &pairs {
                scope.spawn(|| std::hint::black_box(pair[0] == pair[1]));
            }
        });
        (pairs.len() * BYTES) as f64 / begun.elapsed().as_secs_f64()
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_from_memory_has_a_bound() {
        assert_eq!(bound(100 << 20, 16 << 20, 1e9), Some((100 << 20) as f64 / 1e9));
        assert_eq!(bound(64 << 20, 16 << 20, 1e9), None, "half of it may be in the cache");
        assert_eq!(bound(1 << 40, 0, 1e9), None, "a cache of unknown size");
    }

    #[test]
    fn sizes_are_read_as_the_system_writes_them() {
        assert_eq!(
            ["48K", "32M", "7", "1T", "K"].map(size),
            [Some(48 << 10), Some(32 << 20), Some(7), None, None]
        );
    }

    #[test]
    fn memory_has_some_speed() {
        let speed = read_bandwidth(1);
        assert!(speed > 1e8 && speed < 1e13, "{speed}");
    }
}
