//! Lanes of a warp that run together.

/// What a group does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Can run.
    #[default]
    Ready,
    /// Stands at a join and waits for the lanes that it parted from.
    Parked,
    /// Stands at an instruction that could not go on.
    Waiting,
}

/// What lanes brought to, or got from, an instruction that several groups execute together.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Tells apart what must not meet: operation, qualifiers, member mask.
    pub key: u64,
    /// Lanes that take part.
    pub members: u32,
    /// Lanes whose values are there.
    pub lanes: u32,
    /// What each lane brought.
    pub values: [u64; 32],
    /// Whether it is complete: all members' values are in it.
    pub complete: bool,
}

/// What a group remembers between two tries of an instruction that waits.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Ticket {
    /// Nothing: the first try.
    #[default]
    None,
    /// Arrived at a barrier in its generation.
    Barrier(u64),
    /// Waits for the other lanes.
    Exchange(Box<Exchange>),
    /// Two numbers of a family's own.
    Numbers(u64, u64),
}

/// A group.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Its lanes.
    pub mask: u32,
    /// Where it stands.
    pub pc: u32,
    /// Its frame.
    pub frame: u32,
    /// Joins on its way, the nearest last.
    pub joins: Vec<u32>,
    /// What it does.
    pub state: State,
    /// Memory of a wait.
    pub ticket: Ticket,
    /// The warp's clock when it was parked.
    pub since: u64,
    /// The warp's turn in which it was last tried in vain.
    pub tried: u64,
}
