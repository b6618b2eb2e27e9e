//! State of a cluster that belongs to families of instructions and not to the machine's core.

use std::any::{Any, TypeId};
use std::collections::HashMap;

/// One value of each type, made when first asked for.
#[derive(Default)]
pub struct Extra(HashMap<TypeId, Box<dyn Any + Send>>);

impl Extra {
    /// The value of a type.
    pub fn get<T: Any + Send + Default>(&mut self) -> &mut T {
        let boxed = self.0.entry(TypeId::of::<T>()).or_insert_with(|| Box::<T>::default());
        boxed.downcast_mut().expect("stored under its own type")
    }

    /// The value of a type, if it was asked for before.
    pub fn peek<T: Any + Send>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Extra({})", self.0.len())
    }
}
