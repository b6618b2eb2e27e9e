//! Launches before the driver sees them: geometry and packed arguments.

/// How a kernel is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// CTAs.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster; `None` where the kernel has no clusters, or says itself how large they are.
    pub cluster: Option<[u32; 3]>,
    /// Bytes of dynamic shared memory.
    pub smem: u32,
}

/// Clusters larger than this are not portable: a kernel must be told that it may have them.
pub const PORTABLE_CLUSTER: u32 = 8;
/// Dynamic shared memory beyond this must be asked for.
pub const DEFAULT_SMEM: u32 = 48 << 10;

impl Geometry {
    /// Whether it makes sense on any GPU.
    pub fn check(&self) -> Result<(), String> {
        let threads: u64 = self.block.iter().map(|b| u64::from(*b)).product();
        if self.grid.contains(&0) || threads == 0 {
            return Err(format!("a grid of {:?} CTAs of {:?} threads is empty", self.grid, self.block));
        }
        if threads > 1024 {
            return Err(format!("{threads} threads in a CTA; there can be 1024"));
        }
        if self.grid[1] > 65_535 || self.grid[2] > 65_535 || self.grid[0] > i32::MAX as u32 {
            return Err(format!("a grid of {:?} CTAs is too large", self.grid));
        }
        let Some(cluster) = self.cluster else { return Ok(()) };
        if cluster.contains(&0) || (0..3).any(|d| !self.grid[d].is_multiple_of(cluster[d])) {
            return Err(format!(
                "a grid of {:?} CTAs does not divide into clusters of {cluster:?}",
                self.grid
            ));
        }
        if self.cluster_size() > 16 {
            return Err(format!("{} CTAs in a cluster; there can be 16", self.cluster_size()));
        }
        Ok(())
    }

    /// CTAs of a cluster.
    pub fn cluster_size(&self) -> u32 {
        self.cluster.map_or(1, |c| c.iter().product())
    }
}

/// An argument's bytes, aligned as the widest parameter there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(128))]
struct Slot([u8; 128]);

/// The arguments of a launch, each at an address of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    slots: Vec<Slot>,
    sizes: Vec<usize>,
}

impl Packed {
    /// Appends an argument of at most 128 bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut slot = Slot([0; 128]);
        slot.0[..bytes.len()].copy_from_slice(bytes);
        self.slots.push(slot);
        self.sizes.push(bytes.len());
    }

    /// Bytes of each argument.
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The bytes of argument `i`.
    pub fn bytes(&self, i: usize) -> &[u8] {
        &self.slots[i].0[..self.sizes[i]]
    }

    /// Whether they are what a kernel with parameters of these sizes takes.
    pub fn check(&self, entry: &str, parameters: &[usize]) -> Result<(), String> {
        if self.sizes.len() != parameters.len() {
            let (given, wants) = (self.sizes.len(), parameters.len());
            return Err(format!("`{entry}` has {wants} parameters and was given {given} arguments"));
        }
        match (0..parameters.len()).find(|i| self.sizes[*i] != parameters[*i]) {
            Some(i) => Err(format!(
                "parameter {i} of `{entry}` has {} bytes and was given {}",
                parameters[i], self.sizes[i]
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Geometry = Geometry { grid: [4, 2, 1], block: [256, 1, 1], cluster: None, smem: 0 };

    #[test]
    fn geometry_that_no_gpu_can_launch_is_refused() {
        assert_eq!(PLAIN.check(), Ok(()));
        assert_eq!(Geometry { cluster: Some([2, 1, 1]), ..PLAIN }.check(), Ok(()));
        let why = |g: Geometry| g.check().unwrap_err();
        assert!(why(Geometry { grid: [0, 1, 1], ..PLAIN }).contains("empty"));
        assert!(why(Geometry { block: [64, 32, 1], ..PLAIN }).contains("2048"));
        assert!(why(Geometry { grid: [1, 70_000, 1], ..PLAIN }).contains("too large"));
        assert!(why(Geometry { cluster: Some([3, 1, 1]), ..PLAIN }).contains("divide"));
        let many = Geometry { grid: [32, 2, 1], cluster: Some([16, 2, 1]), ..PLAIN };
        assert!(why(many).contains("32 CTAs"));
    }

    #[test]
    fn arguments_are_packed_aligned_and_held_to_the_kernels_parameters() {
        let mut p = Packed::default();
        p.push(&7u64.to_le_bytes());
        p.push(&1.5f32.to_le_bytes());
        p.push(&[9; 128]);
        assert_eq!(p.sizes(), [8, 4, 128]);
        assert_eq!(p.bytes(1), 1.5f32.to_le_bytes());
        assert!(p.slots.iter().all(|s| std::ptr::from_ref(s).addr().is_multiple_of(128)));
        assert_eq!(p.check("k", &[8, 4, 128]), Ok(()));
        assert!(p.check("k", &[8, 4]).unwrap_err().contains("2 parameters"));
        assert!(p.check("k", &[8, 8, 128]).unwrap_err().contains("parameter 1"));
    }
}
