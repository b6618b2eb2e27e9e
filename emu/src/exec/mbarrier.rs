//! mbarriers: phases that end when all arrivals and all announced bytes are there (PTX ISA, mbarrier; ptx.md 5.2).

use std::collections::HashMap;

/// Largest count of arrivals, and largest amount of bytes in either direction.
pub const LIMIT: u32 = (1 << 20) - 1;

/// A misuse, in words.
pub type Misuse = String;

/// One object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mbarrier {
    /// Phases that have ended.
    pub phase: u64,
    /// Arrivals that the phase still waits for.
    pub pending: u32,
    /// Arrivals of the next phase.
    pub expected: u32,
    /// Announced bytes less those that landed.
    pub tx: i64,
    /// Whether some thread saw the end of the last phase.
    pub observed: bool,
}

/// What an arrival returned: the phase and the arrivals that were pending after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// The phase in which it arrived.
    pub phase: u64,
    /// Arrivals pending after it.
    pub pending: u32,
    /// Whether it came from a form that does not complete a phase: only then it tells its pending count.
    pub no_complete: bool,
}

const TOKEN_MARK: u64 = 1 << 62;
const TOKEN_NO_COMPLETE: u64 = 1 << 61;
const TOKEN_PHASE: u64 = (1 << 40) - 1;

impl Token {
    /// The 64 bits that a kernel sees; their meaning is not part of the ISA.
    pub fn bits(self) -> u64 {
        let flag = if self.no_complete { TOKEN_NO_COMPLETE } else { 0 };
        TOKEN_MARK | flag | (self.phase & TOKEN_PHASE) << 20 | u64::from(self.pending & LIMIT)
    }

    /// Reads them back; `None` if no arrival made them.
    pub fn of(bits: u64) -> Option<Self> {
        (bits >> 62 == TOKEN_MARK >> 62).then_some(Token {
            phase: bits >> 20 & TOKEN_PHASE,
            pending: bits as u32 & LIMIT,
            no_complete: bits & TOKEN_NO_COMPLETE != 0,
        })
    }
}

/// How a thread arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arrival {
    /// Arrivals that it counts for.
    pub count: u32,
    /// Bytes that it announces first.
    pub expect: Option<u32>,
    /// Whether later phases no longer wait for it.
    pub drop: bool,
    /// Whether it promises not to end the phase.
    pub no_complete: bool,
}

impl Mbarrier {
    /// A fresh object.
    pub fn new(count: u32) -> Result<Self, Misuse> {
        if count == 0 || count > LIMIT {
            return Err(format!("initialised with a count of {count}; 1 to {LIMIT} are allowed"));
        }
        Ok(Mbarrier { phase: 0, pending: count, expected: count, tx: 0, observed: true })
    }

    /// Ends the phase if it is complete; says whether it did.
    fn advance(&mut self) -> bool {
        if self.pending != 0 || self.tx != 0 {
            return false;
        }
        self.phase += 1;
        self.pending = self.expected;
        self.observed = false;
        true
    }

    fn add_tx(&mut self, bytes: i64) -> Result<(), Misuse> {
        let tx = self.tx + bytes;
        if tx.unsigned_abs() > u64::from(LIMIT) {
            return Err(format!("its count of bytes becomes {tx}, beyond {LIMIT}"));
        }
        self.tx = tx;
        Ok(())
    }

    /// More bytes will land in this phase.
    pub fn expect_tx(&mut self, bytes: u32) -> Result<(), Misuse> {
        self.add_tx(bytes.into())
    }

    /// Bytes landed; says whether that ended the phase.
    pub fn complete_tx(&mut self, bytes: u32) -> Result<bool, Misuse> {
        self.add_tx(-i64::from(bytes))?;
        Ok(self.advance())
    }

    /// Arrives; gives the token and whether it ended the phase.
    pub fn arrive(&mut self, how: Arrival) -> Result<(Token, bool), Misuse> {
        let Arrival { count, expect, drop, no_complete } = how;
        if count == 0 || count > LIMIT {
            return Err(format!("an arrival with a count of {count}; 1 to {LIMIT} are allowed"));
        }
        if count > self.pending {
            let pending = self.pending;
            return Err(format!("{count} arrivals where the phase waits for {pending} more"));
        }
        if let Some(bytes) = expect {
            self.expect_tx(bytes)?;
        }
        if drop {
            self.expected = self.expected.saturating_sub(count);
        }
        let phase = self.phase;
        self.pending -= count;
        let token = Token { phase, pending: self.pending, no_complete };
        let ended = self.advance();
        if ended && no_complete {
            return Err("an arrival with `.noComplete` ended the phase".to_owned());
        }
        Ok((token, ended))
    }

    /// One more arrival is to be waited for in this phase.
    pub fn one_more(&mut self) -> Result<(), Misuse> {
        if self.pending >= LIMIT {
            return Err(format!("more than {LIMIT} arrivals are pending"));
        }
        self.pending += 1;
        Ok(())
    }

    /// Whether the phase of a token has ended.
    pub fn test(&self, token: u64) -> Result<bool, Misuse> {
        match Token::of(token).map(|t| t.phase) {
            Some(phase) if phase == self.phase => Ok(false),
            Some(phase) if phase + 1 == self.phase => Ok(true),
            Some(phase) => {
                Err(format!("the state is of phase {phase}, the barrier is in phase {}", self.phase))
            }
            None => Err("the state that is waited for was given by no arrival".to_owned()),
        }
    }

    /// Whether the phase of a parity, the current one or the one before, has ended.
    pub fn test_parity(&self, parity: u32) -> bool {
        self.phase & 1 != u64::from(parity & 1)
    }
}

impl std::fmt::Display for Mbarrier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mbarrier { phase, pending, expected, tx, .. } = self;
        write!(f, "in phase {phase}, {pending} of {expected} arrivals pending, {tx} bytes still to land")
    }
}

/// All live objects of a cluster, by shared address (`rank << 24 | offset`), and what the checks remember of waits.
#[derive(Debug, Default)]
pub struct Mbarriers {
    live: HashMap<u64, Mbarrier>,
    /// All objects there ever were lie between these, so that most accesses need no search.
    span: Option<(u64, u64)>,
    /// By object and thread: the phase whose end the thread last passed by parity.
    passed: HashMap<(u64, u32), u64>,
    /// By warp of the cluster: fruitless returns of a wait, and the warp's clock at the last one.
    patience: HashMap<u32, (u32, u64)>,
}

/// Fruitless returns of a wait in a row after which it blocks for good: a warp that does nothing else stands still.
const PATIENCE: u32 = 256;
/// Instructions between two returns that show that the warp does something else.
const BUSY: u64 = 256;

impl Mbarriers {
    /// The object at an address.
    pub fn get(&self, address: u64) -> Option<&Mbarrier> {
        self.live.get(&address)
    }

    /// The object at an address, to be changed.
    pub fn get_mut(&mut self, address: u64) -> Result<&mut Mbarrier, Misuse> {
        self.live.get_mut(&address).ok_or_else(|| "there is no initialised mbarrier".to_owned())
    }

    /// Makes one.
    pub fn init(&mut self, address: u64, count: u32) -> Result<(), Misuse> {
        let fresh = Mbarrier::new(count)?;
        self.passed.retain(|(a, _), _| *a != address);
        let (first, end) = self.span.unwrap_or((address, address));
        self.span = Some((first.min(address), end.max(address + 8)));
        match self.live.insert(address, fresh) {
            Some(_) => Err("initialised again while it is live".to_owned()),
            None => Ok(()),
        }
    }

    /// Ends one.
    pub fn inval(&mut self, address: u64) -> Result<(), Misuse> {
        let gone = self.live.remove(&address);
        gone.map(|_| ()).ok_or_else(|| "invalidated, but there is no initialised mbarrier".to_owned())
    }

    /// A live object that overlaps bytes, if there is one.
    pub fn overlapping(&self, start: u64, len: u64) -> Option<u64> {
        let (first, end) = self.span?;
        if start >= end || start + len <= first {
            return None;
        }
        if len <= 16 {
            let first = start & !7;
            return (first..start + len).step_by(8).find(|a| self.live.contains_key(a));
        }
        self.live.keys().copied().find(|a| *a < start + len && start < a + 8)
    }

    /// A thread passed a wait by parity. Says whether it had passed the end of the same phase before.
    pub fn pass(&mut self, address: u64, thread: u32) -> bool {
        let Some(object) = self.live.get_mut(&address) else { return false };
        object.observed = true;
        let phase = object.phase;
        // Before the first phase has ended nothing was waited for.
        phase > 0 && self.passed.insert((address, thread), phase) == Some(phase)
    }

    /// Whether a wait of a warp that came to nothing may return once more.
    pub fn may_return(&mut self, warp: u32, clock: u64) -> bool {
        let (count, last) = self.patience.entry(warp).or_default();
        if clock.wrapping_sub(*last) > BUSY {
            *count = 0;
        }
        *last = clock;
        *count += 1;
        *count <= PATIENCE
    }

    /// A wait of a warp succeeded.
    pub fn went_on(&mut self, warp: u32) {
        self.patience.remove(&warp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(b: &mut Mbarrier) -> bool {
        b.arrive(Arrival { count: 1, ..Arrival::default() }).expect("allowed").1
    }

    #[test]
    fn a_fresh_barrier_counts_the_phase_before_as_over() {
        let mut b = Mbarrier::new(2).expect("allowed");
        assert!(b.test_parity(1) && !b.test_parity(0));
        assert!(!once(&mut b));
        assert!(once(&mut b));
        assert!(b.test_parity(0) && !b.test_parity(1));
        assert_eq!((b.phase, b.pending, b.tx), (1, 2, 0));
    }

    #[test]
    fn bytes_that_land_early_do_not_end_the_phase() {
        let mut b = Mbarrier::new(1).expect("allowed");
        assert_eq!(b.complete_tx(64), Ok(false));
        assert_eq!(b.tx, -64);
        let how = Arrival { count: 1, expect: Some(128), ..Arrival::default() };
        assert!(!b.arrive(how).expect("allowed").1);
        assert_eq!(b.complete_tx(64), Ok(true));
        assert_eq!((b.phase, b.pending, b.tx), (1, 1, 0));
    }

    #[test]
    fn a_drop_is_missing_from_all_later_phases() {
        let mut b = Mbarrier::new(3).expect("allowed");
        b.arrive(Arrival { count: 1, drop: true, ..Arrival::default() }).expect("allowed");
        once(&mut b);
        assert!(once(&mut b));
        assert_eq!((b.pending, b.expected), (2, 2));
    }

    #[test]
    fn tokens_tell_their_phase_and_count() {
        let mut b = Mbarrier::new(5).expect("allowed");
        let how = Arrival { count: 2, no_complete: true, ..Arrival::default() };
        let (token, _) = b.arrive(how).expect("allowed");
        assert_eq!(Token::of(token.bits()), Some(token));
        assert_eq!(token.pending, 3);
        assert_eq!(b.test(token.bits()), Ok(false));
        (0..3).for_each(|_| assert!(once(&mut b) || b.pending < b.expected));
        assert_eq!(b.test(token.bits()), Ok(true));
        (0..5).for_each(|_| assert!(once(&mut b) || b.pending < b.expected));
        assert!(b.test(token.bits()).is_err(), "two phases later the state is stale");
        assert!(b.test(0).is_err());
    }

    #[test]
    fn misuse_is_told() {
        assert!(Mbarrier::new(0).is_err());
        assert!(Mbarrier::new(1 << 20).is_err());
        let mut b = Mbarrier::new(1).expect("allowed");
        assert!(b.arrive(Arrival { count: 2, ..Arrival::default() }).is_err());
        assert!(b.arrive(Arrival { count: 0, ..Arrival::default() }).is_err());
        assert!(b.arrive(Arrival { count: 1, no_complete: true, ..Arrival::default() }).is_err());
        assert!(b.expect_tx(LIMIT).is_ok() && b.expect_tx(1).is_err());
        let mut all = Mbarriers::default();
        assert!(all.init(1024, 1).is_ok() && all.init(1024, 1).is_err());
        assert_eq!(all.overlapping(1028, 4), Some(1024));
        assert_eq!(all.overlapping(1000, 64), Some(1024));
        assert_eq!(all.overlapping(1032, 128), None);
        assert!(all.inval(1024).is_ok() && all.inval(1024).is_err());
    }
}
