//! Which endpoints a request was already sent to.

/// A few endpoint indexes; beyond its size the oldest knowledge stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    indexes: [u32; 3],
    len: u8,
}

impl Tried {
    /// Remembers an endpoint.
    pub fn insert(&mut self, index: usize) {
        let (Some(slot), Ok(index)) = (self.indexes.get_mut(usize::from(self.len)), u32::try_from(index))
        else {
            return;
        };
        *slot = index;
        self.len += 1;
    }

    /// Whether an endpoint was tried.
    pub fn contains(&self, index: usize) -> bool {
        self.iter().any(|tried| tried == index)
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each that was.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.indexes.iter().take(usize::from(self.len)).map(|index| *index as usize)
    }
}
