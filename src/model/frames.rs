//! The frames of a stack, shared where many threads stand alike.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::stack::RawFrame;

/// A list of frames. A clone shares them until one of the two is changed: a stackshot of 170,000 threads has a few hundred lists.
///
/// It is used like the `Vec` that it holds.
#[derive(Clone, Debug, Default)]
pub struct Frames(Option<Arc<Vec<RawFrame>>>);

static NONE: Vec<RawFrame> = Vec::new();

impl Deref for Frames {
    type Target = Vec<RawFrame>;
    fn deref(&self) -> &Vec<RawFrame> {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Frames {
    fn deref_mut(&mut self) -> &mut Vec<RawFrame> {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl From<Vec<RawFrame>> for Frames {
    fn from(frames: Vec<RawFrame>) -> Frames {
        Frames((!frames.is_empty()).then(|| Arc::new(frames)))
    }
}

impl FromIterator<RawFrame> for Frames {
    fn from_iter<I: IntoIterator<Item = RawFrame>>(frames: I) -> Frames {
        frames.into_iter().collect::<Vec<RawFrame>>().into()
    }
}

impl<'a> IntoIterator for &'a Frames {
    type Item = &'a RawFrame;
    type IntoIter = std::slice::Iter<'a, RawFrame>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Frames {
    type Item = &'a mut RawFrame;
    type IntoIter = std::slice::IterMut<'a, RawFrame>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_shares_until_it_is_changed() {
        let first: Frames = vec![RawFrame { line: 1, ..RawFrame::default() }].into();
        let mut second = first.clone();
        assert!(std::ptr::eq(&first[0], &second[0]));
        second.push(RawFrame { line: 2, ..RawFrame::default() });
        assert_eq!((first.len(), second.len(), Frames::default().len()), (1, 2, 0));
    }
}
