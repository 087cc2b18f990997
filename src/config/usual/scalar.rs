//! Scalars of one line, and what they stand for.

use super::Reader;
use crate::config::document::{self, Node};

impl Reader<'_, '_, '_> {
    /// A scalar, to what stands behind it. `inside` brackets these end one too.
    pub(super) fn scalar(&mut self, inside: bool) -> Option<Node> {
        self.enter()?;
        self.levels -= 1;
        match self.peek()? {
            b'"' => self.double_quoted(),
            b'\'' => self.single_quoted(),
            _ => self.plain(inside),
        }
    }

    fn plain(&mut self, inside: bool) -> Option<Node> {
        let rest = self.rest();
        let mut bytes = rest.bytes();
        let (first, second) = (bytes.next()?, bytes.next());
        let begins = match first {
            b'-' => second.is_some_and(|b| b.is_ascii_digit() || b == b'.'),
            _ => !b"?:,[]{}#&*!|>%@` \n".contains(&first),
        };
        if !begins {
            return None;
        }
        let end = end(rest, inside)?;
        self.at += end;
        meaning(rest.get(..end)?)
    }

    fn single_quoted(&mut self) -> Option<Node> {
        let inner = self.rest().get(1..)?;
        let end = inner.find(['\'', '\n'])?;
        let text = inner.get(..end)?;
        let mut behind = inner.get(end..)?.bytes();
        // Two in a row are one of the text.
        if behind.next() != Some(b'\'') || behind.next() == Some(b'\'') {
            return None;
        }
        self.at += end + 2;
        Some(Node::Text(text.to_owned()))
    }

    fn double_quoted(&mut self) -> Option<Node> {
        let inner = self.rest().get(1..)?;
        let mut text = String::new();
        let mut from = 0;
        loop {
            let part = inner.get(from..)?;
            let length = part.find(['"', '\\', '\n'])?;
            text.push_str(part.get(..length)?);
            let mut behind = part.get(length..)?.chars();
            match (behind.next()?, behind.next()) {
                ('"', _) => {
                    self.at += from + length + 2;
                    return Some(Node::Text(text));
                }
                ('\\', Some(escaped @ ('"' | '\\'))) => text.push(escaped),
                ('\\', Some('n')) => text.push('\n'),
                ('\\', Some('t')) => text.push('\t'),
                _ => return None,
            }
            from += length + 2;
        }
    }
}

/// How long a plain scalar is; `None` where who reads decides.
fn end(rest: &str, inside: bool) -> Option<usize> {
    let bytes = rest.as_bytes();
    // Of what is read so far without the spaces at its end.
    let mut end = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let next = bytes.get(at + 1).copied();
        match byte {
            b'\n' => return Some(end),
            b' ' => continue,
            b'#' if end < at => return Some(end),
            b':' if matches!(next, None | Some(b' ' | b'\n')) => return (end == at).then_some(end),
            b':' if inside && next.is_some_and(|b| b",?[]{}".contains(&b)) => return None,
            b',' | b'[' | b']' | b'{' | b'}' if inside => return Some(end),
            _ => end = at + 1,
        }
    }
    Some(end)
}

/// What a plain scalar stands for.
fn meaning(text: &str) -> Option<Node> {
    let first = *text.as_bytes().first()?;
    Some(match text {
        "null" | "Null" | "NULL" | "~" => Node::Null,
        "true" | "True" | "TRUE" => Node::Bool(true),
        "false" | "False" | "FALSE" => Node::Bool(false),
        _ if is_small_number(text) => Node::Unsigned(text.parse().ok()?),
        _ if !b"0123456789+-.".contains(&first) || text.bytes().any(|b| !NUMERIC.contains(&b)) => {
            Node::Text(text.to_owned())
        }
        // It may be a number, and of many a spelling.
        _ => document::scalar(text)?,
    })
}

fn is_small_number(text: &str) -> bool {
    let is_one = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_one && (text.len() == 1 || !text.starts_with('0'))
}

/// What a number can be written with, `.inf` and `.nan` too.
const NUMERIC: &[u8] = b"0123456789+-._abcdefABCDEFxXoOinIN";
