//! Collections in brackets.

use super::{LONGEST_KEY, Reader};
use crate::config::document::{Node, entry};

impl Reader<'_, '_, '_> {
    /// A list or mapping, from its bracket to the one that ends it.
    pub(super) fn flow(&mut self) -> Option<Node> {
        self.enter()?;
        let is_list = self.peek() == Some(b'[');
        self.at += 1;
        let node = if is_list { self.flow_list() } else { self.flow_map() };
        self.levels -= 1;
        node
    }

    fn flow_list(&mut self) -> Option<Node> {
        let mut items = Vec::with_capacity(1);
        loop {
            self.gap()?;
            if self.ends(b']') {
                return Some(Node::List(items));
            }
            items.push(self.flow_value()?);
            self.separator(b']')?;
        }
    }

    fn flow_map(&mut self) -> Option<Node> {
        let mut entries = Vec::with_capacity(2);
        loop {
            self.gap()?;
            if self.ends(b'}') {
                return Some(Node::Map(entries));
            }
            let begin = self.at;
            let key = self.scalar(true)?;
            if !self.ends(b':') || self.at - begin > LONGEST_KEY || !matches!(self.peek(), Some(b' ' | b'\n'))
            {
                return None;
            }
            self.gap()?;
            let value = self.flow_value()?;
            entries.push(entry(key, value));
            self.separator(b'}')?;
        }
    }

    fn flow_value(&mut self) -> Option<Node> {
        match self.peek()? {
            b'{' | b'[' => self.flow(),
            _ => self.scalar(true),
        }
    }

    /// To what comes after a comma, or to the end.
    fn separator(&mut self, end: u8) -> Option<()> {
        self.gap()?;
        (self.ends(b',') || self.peek() == Some(end)).then_some(())
    }

    fn ends(&mut self, end: u8) -> bool {
        let ends = self.peek() == Some(end);
        self.at += usize::from(ends);
        ends
    }

    /// Spaces, ends of lines and comments.
    fn gap(&mut self) -> Option<()> {
        loop {
            let apart =
                self.spaces() > 0 || self.text.get(..self.at).is_some_and(|text| text.ends_with('\n'));
            match self.peek()? {
                b'\n' => self.at += 1,
                b'#' if apart => self.comment(),
                b'#' => return None,
                _ => return Some(()),
            }
        }
    }
}
