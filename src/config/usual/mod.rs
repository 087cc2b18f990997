//! YAML as configurations are mostly written, read ten times as fast as by libyaml.
//!
//! Owns blocks, flow collections and scalars of one line, and text after `|`. Whatever
//! else there is (aliases, tags, folded text, scalars over several lines, tabs, anything
//! that is wrong) makes the whole of it `None`, and `serde_yaml` reads, and tells. What
//! is read here is what `serde_yaml` reads, value by value: the tests hold both together.

mod flow;
mod scalar;

use memchr::memchr_iter;

use super::{
    document::{Node, entry},
    sharing::{Sharing, is_item},
};

/// The one document of a text; `None` where something is not usual. With `sharing`, each
/// entry of the root's `routes` is read at once, so that the tree of no more than one of
/// them is there at a time.
pub(super) fn read(text: &str, sharing: Option<&mut Sharing<'_>>) -> Option<Node> {
    let start = start(text)?;
    let mut reader = Reader { text, at: start, next: None, levels: 0, values: 0, sharing, in_routes: false };
    reader.lines();
    let root = reader.block(reader.next?)?;
    (reader.next.is_none() && root != Node::Null).then_some(root)
}

/// Where the document begins, if all of the text is characters that mean the same to
/// everyone, and nothing else in it begins or ends a document.
fn start(text: &str) -> Option<usize> {
    if !is_plain(text) && !text.chars().all(is_usual) {
        return None;
    }
    let start = if text.starts_with("---\n") { 3 } else { 0 };
    let rest = text.get(start..)?;
    let is_mark = |line: &str| ["---", "...", "%"].iter().any(|mark| line.starts_with(mark));
    let mut lines = memchr_iter(b'\n', rest.as_bytes()).filter_map(|end| rest.get(end + 1..));
    (!is_mark(rest) && !lines.any(is_mark)).then_some(start)
}

/// Whether every character is [usual](is_usual) and of ASCII; piece by piece, for then a
/// piece is looked at in a few steps.
fn is_plain(text: &str) -> bool {
    let plain = |byte: &u8| *byte == b'\n' || (b' '..=b'~').contains(byte);
    text.as_bytes().chunks(1024).all(|piece| piece.iter().fold(true, |all, byte| all & plain(byte)))
}

/// Neither a tab, nor a line's end for some alone, nor what YAML forbids.
fn is_usual(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{10000}'..)
}

/// A place in the text, between a value and the next.
struct Reader<'t, 's, 'b> {
    text: &'t str,
    at: usize,
    /// The column of the line that comes next, where [`lines`](Self::lines) stopped.
    next: Option<usize>,
    levels: usize,
    values: usize,
    sharing: Option<&'s mut Sharing<'b>>,
    /// The value that comes next is that of the root's `routes`.
    in_routes: bool,
}

impl<'t> Reader<'t, '_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn spaces(&mut self) -> usize {
        let count = self.rest().bytes().take_while(|b| *b == b' ').count();
        self.at += count;
        count
    }

    /// From a line's first column to what stands on the next line that says anything.
    fn lines(&mut self) {
        loop {
            let column = self.spaces();
            match self.peek() {
                None => return self.next = None,
                Some(b'\n') => self.at += 1,
                Some(b'#') => self.comment(),
                Some(_) => return self.next = Some(column),
            }
        }
    }

    fn comment(&mut self) {
        self.at += self.rest().bytes().take_while(|b| *b != b'\n').count();
    }

    /// From the end of a value to the next line; `None` if more stands behind it.
    fn line_end(&mut self) -> Option<()> {
        let apart = self.spaces() > 0;
        match self.peek() {
            Some(b'#') if apart => self.comment(),
            None | Some(b'\n') => {}
            Some(_) => return None,
        }
        self.lines_after();
        Some(())
    }

    /// As [`lines`](Self::lines), from a line's end.
    fn lines_after(&mut self) {
        self.at += usize::from(self.peek().is_some());
        self.lines();
    }

    /// What stands at a column, to the line after it.
    fn block(&mut self, column: usize) -> Option<Node> {
        self.enter()?;
        let in_routes = std::mem::take(&mut self.in_routes);
        let node = match self.peek()? {
            b'-' if self.is_item() => self.sequence(column, in_routes),
            b'{' | b'[' => self.flow_line(),
            _ => self.mapping_or_scalar(column),
        };
        self.levels -= 1;
        node
    }

    fn enter(&mut self) -> Option<()> {
        self.levels += 1;
        self.values += 1;
        (self.levels <= MOST_LEVELS && self.values <= MOST_VALUES).then_some(())
    }

    fn is_item(&self) -> bool {
        is_item(self.rest())
    }

    fn sequence(&mut self, column: usize, are_routes: bool) -> Option<Node> {
        let mut items = Vec::with_capacity(1);
        if let (true, Some(sharing)) = (are_routes, &mut self.sharing) {
            sharing.begin(column);
        }
        while self.is_item() {
            items.push(if are_routes { self.route(column)? } else { self.item(column)? });
            if self.next != Some(column) {
                break;
            }
        }
        // What is further in would be the rest of an item.
        (self.next.is_none_or(|next| next <= column)).then_some(Node::List(items))
    }

    /// From an item's dash to the line after it.
    fn item(&mut self, column: usize) -> Option<Node> {
        self.at += 1;
        let inner = column + 1 + self.spaces();
        match self.peek() {
            None | Some(b'\n' | b'#') => self.below(column),
            Some(_) => self.block(inner),
        }
    }

    /// As [`item`](Self::item), of the root's `routes`.
    fn route(&mut self, column: usize) -> Option<Node> {
        let found = self.sharing.as_mut().and_then(|sharing| sharing.find(self.text, self.at, column));
        if let Some(found) = found {
            self.at += found.length;
            self.values += found.values;
            self.next = Some(column);
            return Some(found.node);
        }
        let (begin, before) = (self.at, self.values);
        let node = self.item(column)?;
        // The last one ends by what comes behind the list.
        let is_whole = self.next == Some(column) && self.is_item();
        let values = is_whole.then_some(self.values - before);
        Some(match &mut self.sharing {
            Some(sharing) => sharing.read(node, begin..self.at, values),
            None => node,
        })
    }

    /// What stands on the lines further in than a column; nothing is null.
    fn below(&mut self, column: usize) -> Option<Node> {
        self.lines_after_comment();
        match self.next {
            Some(next) if next > column => self.block(next),
            _ => Some(Node::Null),
        }
    }

    fn lines_after_comment(&mut self) {
        if self.peek() == Some(b'#') {
            self.comment();
        }
        self.lines_after();
    }

    fn mapping_or_scalar(&mut self, column: usize) -> Option<Node> {
        let begin = self.at;
        let first = self.scalar(false)?;
        if self.peek() == Some(b':') && self.at - begin <= LONGEST_KEY {
            return self.mapping(column, first);
        }
        self.line_end()?;
        Some(first)
    }

    fn mapping(&mut self, column: usize, mut key: Node) -> Option<Node> {
        let mut entries = Vec::with_capacity(2);
        loop {
            let is_routes = self.levels == 1 && matches!(&key, Node::Text(key) if key == ROUTES);
            self.in_routes = is_routes && self.sharing.is_some();
            let value = self.value(column)?;
            self.in_routes = false;
            entries.push(entry(key, value));
            match self.next {
                Some(next) if next == column => {}
                // What is further in would be the rest of a value.
                Some(next) if next > column => return None,
                _ => return Some(Node::Map(entries)),
            }
            let begin = self.at;
            key = self.scalar(false)?;
            if self.peek() != Some(b':') || self.at - begin > LONGEST_KEY {
                return None;
            }
        }
    }

    /// From a key's colon to the line after its value.
    fn value(&mut self, column: usize) -> Option<Node> {
        self.at += 1;
        let apart = self.spaces() > 0;
        match self.peek() {
            None | Some(b'\n') => self.value_below(column),
            Some(_) if !apart => None,
            Some(b'#') => self.value_below(column),
            Some(b'|') => self.literal(column),
            Some(b'{' | b'[') => self.flow_line(),
            Some(_) => {
                let scalar = self.scalar(false)?;
                self.line_end()?;
                Some(scalar)
            }
        }
    }

    /// The items of a key may begin at the key's own column.
    fn value_below(&mut self, column: usize) -> Option<Node> {
        self.lines_after_comment();
        match self.next {
            Some(next) if next > column => self.block(next),
            Some(next) if next == column && self.is_item() => self.block(next),
            _ => Some(Node::Null),
        }
    }

    fn flow_line(&mut self) -> Option<Node> {
        let node = self.flow()?;
        self.line_end()?;
        Some(node)
    }

    /// Text after `|` or `|-`: the lines that are as far in as the first of them.
    fn literal(&mut self, column: usize) -> Option<Node> {
        let rest = self.rest();
        let strips = rest.starts_with("|-\n");
        // A last line that does not end is a chapter of its own as well.
        if (!strips && !rest.starts_with("|\n")) || !rest.ends_with('\n') {
            return None;
        }
        self.at += if strips { 3 } else { 2 };
        let indent = self.rest().bytes().take_while(|b| *b == b' ').count();
        let mut text = String::new();
        // Blank lines belong to the text only where more of it follows.
        let mut blank = 0;
        while let Some((line, _)) = self.rest().split_once('\n') {
            let spaces = line.bytes().take_while(|b| *b == b' ').count();
            if spaces < indent && spaces < line.len() {
                break;
            }
            self.at += line.len() + 1;
            match line.get(indent..) {
                _ if line.is_empty() => blank += 1,
                Some(line) if !line.trim_start_matches(' ').is_empty() => {
                    text.extend(std::iter::repeat_n('\n', std::mem::take(&mut blank)));
                    text.push_str(line);
                    text.push('\n');
                }
                // Spaces alone: which of them count is a chapter of its own.
                _ => return None,
            }
        }
        if strips {
            text.pop();
        }
        self.lines();
        let ends = self.next.is_none_or(|next| next <= column);
        (indent > column && ends && !text.is_empty()).then_some(Node::Text(text))
    }
}

const ROUTES: &str = "routes";
/// Beyond these `serde_yaml` reads, and tells.
const MOST_LEVELS: usize = 60;
const MOST_VALUES: usize = 3_000_000;
/// libyaml takes no longer ones, in characters.
const LONGEST_KEY: usize = 1000;

#[cfg(test)]
mod tests;
