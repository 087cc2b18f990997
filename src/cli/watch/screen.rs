//! The terminal while it is watched: a screen of its own, given back at the end.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use terminal_size::{Height, Width, terminal_size_of};

use super::fit::{Line, Look, Size};

/// The terminal's other screen, while this lives.
pub struct Screen {
    colours: bool,
}

impl Screen {
    /// Whether there is a terminal that can move its cursor.
    pub fn wanted() -> bool {
        io::stdout().is_terminal()
            && env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
    }

    /// Takes the other screen, without a cursor.
    pub fn open() -> io::Result<Self> {
        // As no-color.org has it: set and not empty.
        let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let screen = Self { colours };
        write(ENTER)?;
        Ok(screen)
    }

    /// Draws what fits the terminal as it is now: each line over what was there, so that
    /// nothing flickers.
    pub fn draw(&self, lines: impl FnOnce(Size) -> Vec<Line>) -> io::Result<()> {
        let size = terminal_size_of(io::stdout());
        let size = size.map_or(USUAL, |(Width(columns), Height(rows))| Size {
            columns: usize::from(columns).max(1),
            rows: usize::from(rows).max(1),
        });
        let lines: Vec<_> = lines(size).iter().map(|line| self.paint(line)).collect();
        write(&format!("{HOME}{}{REST_CLEAR}", lines.join(&format!("{LINE_CLEAR}\r\n"))))
    }

    /// Gives the terminal back, stops, and takes it again once somebody goes on.
    pub fn suspended(&self) -> io::Result<()> {
        write(LEAVE)?;
        suspend();
        write(ENTER)
    }

    fn paint(&self, line: &Line) -> String {
        let code = |look: Look| if self.colours { look.code() } else { "" };
        let mut out = String::new();
        for (look, text) in &line.spans {
            match code(*look) {
                "" => out.push_str(text),
                code => out.extend(["\x1b[", code, "m", text, "\x1b[0m"]),
            }
        }
        out
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = write(LEAVE);
    }
}

/// The line without colours, and its end.
pub fn plain(line: &Line) -> String {
    let mut text: String = line.spans.iter().map(|(_, text)| text.as_str()).collect();
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// What Ctrl-Z does to a program that does not ask for it.
pub fn suspend() {
    // SAFETY: raises a signal in this process and touches no memory.
    unsafe { libc::raise(libc::SIGSTOP) };
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "1",
            Self::Soft => "2",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "1;31",
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const LINE_CLEAR: &str = "\x1b[K";
const REST_CLEAR: &str = "\x1b[K\x1b[J";
const USUAL: Size = Size { columns: 80, rows: 24 };
