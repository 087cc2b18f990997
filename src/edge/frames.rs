//! Counts what an HTTP/2 client sends that makes work and asks for nothing, and what
//! of it is bodies.
//!
//! Owns a budget for each kind of frame, so generous that no client with a use
//! for them meets it. Looks at the nine bytes in front of each frame and skips the
//! rest; decodes nothing, and leaves what is no HTTP/2 to the library. What the
//! library ends by itself (streams reset before they were served, header blocks
//! and small DATA without end) it ends still, and sooner.

use std::time::Instant;

use smallvec::SmallVec;

use super::frame_heads::{Head, Heads};

/// Follows the frames of one client, in whatever pieces they come.
pub struct FrameWatch {
    /// What the client sends.
    theirs: Heads,
    /// What is sent to it.
    ours: Heads,
    leaves: bool,
    /// What is skipped is a piece of a body.
    in_data: bool,
    /// The last stream that was opened.
    last: u32,
    /// Streams that neither side was seen to end, in their order.
    open: SmallVec<[u32; 8]>,
    /// There were more than are followed.
    overflown: bool,
    buckets: [Bucket; KINDS],
}

/// More frames of one kind than anybody needs; its name, for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flood(pub &'static str);

impl FrameWatch {
    /// For a connection that begins now, with the preface.
    pub fn new(now: Instant) -> Self {
        let buckets = BUDGETS.map(|budget| Bucket { tokens: budget.burst, filled: now });
        Self {
            theirs: Heads::after(PREFACE),
            ours: Heads::default(),
            leaves: false,
            in_data: false,
            last: 0,
            open: SmallVec::new(),
            overflown: false,
            buckets,
        }
    }

    /// Takes the next piece of what the client sends; `now` is asked for only when
    /// a budget seems to be used up. How many bytes of it are bodies'.
    pub fn push(&mut self, mut piece: &[u8], now: impl Fn() -> Instant) -> Result<usize, Flood> {
        let mut of_bodies = 0;
        loop {
            let (skipped, head) = self.theirs.next(&mut piece);
            if self.in_data {
                of_bodies += skipped;
            }
            let Some(head) = head else { return Ok(of_bodies) };
            self.frame(&head, &now)?;
        }
    }

    /// Takes the next piece of what is sent to the client: it has nothing more to say of
    /// a stream that the gateway resets, as the library does with each that it answers
    /// before its end.
    pub fn sent(&mut self, mut piece: &[u8]) {
        while let (_, Some(head)) = self.ours.next(&mut piece) {
            if head.kind == RST_STREAM {
                self.end(head.stream);
            }
        }
    }

    /// How many bodies may still come, trailers included; never too few.
    pub fn open_bodies(&self) -> u32 {
        if self.overflown {
            return u32::MAX;
        }
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// Whether the client said that it leaves.
    pub fn leaves(&self) -> bool {
        self.leaves
    }

    /// The first header of a stream opens it, another is its trailers.
    fn header(&mut self, stream: u32, ends_stream: bool) {
        if stream <= self.last {
            return if ends_stream {
                self.end(stream)
            };
        }
        self.last = stream;
        match self.open.len() < MOST_OPEN {
            _ if ends_stream => {}
            true => self.open.push(stream),
            false => self.overflown = true,
        }
    }

    fn end(&mut self, stream: u32) {
        if let Ok(place) = self.open.binary_search(&stream) {
            self.open.remove(place);
        }
    }

    /// Takes note of what is sent to the client: whoever reads much opens windows
    /// often, and measures the way by pings.
    pub fn wrote(&mut self, bytes: usize) {
        let earned = u32::try_from(bytes).unwrap_or(u32::MAX).div_ceil(BYTES_A_FRAME);
        // What is written for a ping or for settings earns nothing.
        if bytes > CONTROL_BYTES {
            for (bucket, budget) in self.buckets.iter_mut().zip(&BUDGETS).filter(|(_, budget)| budget.earned)
            {
                bucket.tokens = bucket.tokens.saturating_add(earned).min(budget.burst);
            }
        }
    }

    fn frame(&mut self, head: &Head, now: &impl Fn() -> Instant) -> Result<(), Flood> {
        let &Head { length, kind, flags, stream } = head;
        let ends_stream = flags & END_STREAM != 0;
        self.leaves |= kind == GOAWAY;
        self.in_data = kind == DATA;
        match kind {
            HEADERS => self.header(stream, ends_stream),
            DATA if ends_stream => self.end(stream),
            RST_STREAM => self.end(stream),
            _ => {}
        }
        let place = match kind {
            0 if length > 0 || ends_stream => return Ok(()),
            0 => 0,
            1 => return Ok(()),
            3 => 1,
            4 => 2,
            6 => 3,
            8 => 4,
            9 => 5,
            // PRIORITY, PUSH_PROMISE, GOAWAY, and what is not known.
            _ => 6,
        };
        let (Some(bucket), Some(budget)) = (self.buckets.get_mut(place), BUDGETS.get(place)) else {
            return Ok(());
        };
        if bucket.take(budget, now) { Ok(()) } else { Err(Flood(budget.name)) }
    }
}

/// For the fuzzer: pieces do not change the verdict, and a flood is one.
#[cfg(any(test, fuzzing))]
#[allow(clippy::panic, reason = "a panic is how an oracle speaks")]
pub fn oracle(bytes: &[u8]) {
    let now = Instant::now();
    let (mut watch, mut slow) = (FrameWatch::new(now), FrameWatch::new(now));
    let whole = watch.push(bytes, || now);
    let in_bytes = bytes.iter().try_fold(0, |sum, byte| Ok(sum + slow.push(&[*byte], || now)?));
    assert_eq!(whole, in_bytes, "pieces change the verdict");
    assert_eq!(watch.open, slow.open, "pieces change the streams");
    assert!(
        watch.open.is_sorted() && whole.is_ok_and(|of_bodies| of_bodies <= bytes.len()) || whole.is_err()
    );
    assert!(
        whole.is_ok() || bytes.len() > 100 * super::frame_heads::HEAD,
        "a flood of {} bytes",
        bytes.len()
    );
}

struct Bucket {
    tokens: u32,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, budget: &Budget, now: &impl Fn() -> Instant) -> bool {
        if self.tokens == 0 {
            let now = now();
            let since = now.saturating_duration_since(self.filled);
            let fresh = since.as_millis() * u128::from(budget.per_second) / 1000;
            self.tokens = u32::try_from(fresh).unwrap_or(u32::MAX).min(budget.burst);
            if self.tokens > 0 {
                self.filled = now;
            }
        }
        let left = self.tokens.checked_sub(1);
        self.tokens = left.unwrap_or(0);
        left.is_some()
    }
}

struct Budget {
    name: &'static str,
    burst: u32,
    per_second: u32,
    /// Whether what the client reads earns more.
    earned: bool,
}

/// A keep-alive ping comes every ten seconds at most; probes of a way's bandwidth
/// come with what is read, and so do window updates. Settings change once or
/// twice in a connection. Streams are reset by users who click on, and by deadlines
/// of a busy caller. A header of 32 KiB has two CONTINUATIONs.
const BUDGETS: [Budget; KINDS] = [
    Budget { name: "empty_data", burst: 1_000, per_second: 100, earned: false },
    Budget { name: "rst_stream", burst: 2_000, per_second: 500, earned: false },
    Budget { name: "settings", burst: 100, per_second: 10, earned: false },
    Budget { name: "ping", burst: 1_000, per_second: 100, earned: true },
    Budget { name: "window_update", burst: 10_000, per_second: 1_000, earned: true },
    Budget { name: "continuation", burst: 1_000, per_second: 500, earned: false },
    Budget { name: "other", burst: 1_000, per_second: 100, earned: false },
];
const KINDS: usize = 7;

/// Two window updates for each of the smallest DATA frames that are worth one.
const BYTES_A_FRAME: u32 = 512;

/// The answers to a ping and to settings, in one record.
const CONTROL_BYTES: usize = 256;

/// Four times as many as there may be at a time.
const MOST_OPEN: usize = 4_000;

const PREFACE: u32 = 24;
const END_STREAM: u8 = 1;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        frame_of(1, kind, flags, payload)
    }

    fn frame_of(stream: u8, kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], &vec![0xff; payload]].concat()
    }

    fn begun(now: Instant) -> FrameWatch {
        let mut watch = FrameWatch::new(now);
        watch.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", || now).unwrap();
        watch
    }

    /// How many frames were taken before the flood.
    fn taken(watch: &mut FrameWatch, frame: &[u8], now: Instant) -> usize {
        (0..50_000).take_while(|_| watch.push(frame, || now).is_ok()).count()
    }

    #[test]
    fn each_kind_has_its_burst_and_then_its_rate() {
        let now = Instant::now();
        for (kind, burst, rate) in [
            (0, 1_000, 100),
            (2, 1_000, 100),
            (3, 2_000, 500),
            (4, 100, 10),
            (6, 1_000, 100),
            (8, 10_000, 1_000),
            (9, 1_000, 500),
            (0xfa, 1_000, 100),
        ] {
            let (mut watch, frame) = (begun(now), frame(kind, 0, 0));

            assert_eq!(taken(&mut watch, &frame, now), burst, "kind {kind}");
            assert_eq!(taken(&mut watch, &frame, now + Duration::from_secs(1)), rate, "kind {kind}");
            assert_eq!(taken(&mut watch, &frame, now + Duration::from_secs(1)), 0, "kind {kind}");
            assert_eq!(taken(&mut watch, &frame, now + Duration::from_secs(3600)), burst, "kind {kind}");
        }
    }

    #[test]
    fn what_asks_for_something_is_not_counted() {
        let now = Instant::now();
        for frame in [frame(0, 0, 1), frame(0, END_STREAM, 0), frame(1, 5, 30)] {
            assert_eq!(taken(&mut begun(now), &frame, now), 50_000);
        }
    }

    #[test]
    fn bodies_are_told_from_what_is_none() {
        let now = Instant::now();
        let bytes = [
            frame_of(1, HEADERS, 4, 40),
            frame_of(3, HEADERS, 4 | END_STREAM, 40),
            frame_of(5, HEADERS, 4, 40),
            frame_of(0, 6, 0, 8),
            frame_of(5, DATA, 0, 300),
            frame_of(1, DATA, 0, 20),
            frame_of(7, HEADERS, 4, 40),
            frame_of(9, HEADERS, 4, 40),
        ]
        .concat();
        for size in 1..60 {
            let mut watch = begun(now);
            let of_bodies: usize = bytes.chunks(size).map(|piece| watch.push(piece, || now).unwrap()).sum();
            assert_eq!((of_bodies, watch.open_bodies()), (320, 4), "in pieces of {size}");
        }
        let mut watch = begun(now);
        watch.push(&bytes, || now).unwrap();

        // By its end, by trailers, by a reset; a second end of one ends no other.
        let ends =
            [(1, DATA, END_STREAM), (5, HEADERS, 4 | END_STREAM), (7, RST_STREAM, 0), (1, DATA, END_STREAM)];
        for ((stream, kind, flags), left) in ends.into_iter().zip([3, 2, 1, 1]) {
            watch.push(&frame_of(stream, kind, flags, 4), || now).unwrap();
            assert_eq!(watch.open_bodies(), left, "after stream {stream}");
        }
    }

    #[test]
    fn a_stream_that_the_gateway_resets_is_open_no_more() {
        let now = Instant::now();
        let ours =
            [frame_of(0, 4, 0, 6), frame_of(1, HEADERS, 4, 30), frame_of(3, RST_STREAM, 0, 4)].concat();
        for size in 1..30 {
            let mut watch = begun(now);
            for stream in [1, 3, 5] {
                watch.push(&frame_of(stream, HEADERS, 4, 40), || now).unwrap();
            }

            ours.chunks(size).for_each(|piece| watch.sent(piece));

            assert_eq!(watch.open.as_slice(), [1, 5], "in pieces of {size}");
        }
    }

    #[test]
    fn of_more_streams_than_are_followed_none_is_taken_for_ended() {
        let now = Instant::now();
        let mut watch = begun(now);
        let frame = |id: u32, kind: u8, flags: u8| [&[0, 0, 0, kind, flags][..], &id.to_be_bytes()].concat();

        for nth in 0..=u32::try_from(MOST_OPEN).unwrap() {
            watch.push(&frame(2 * nth + 1, HEADERS, 4), || now).unwrap();
        }
        for nth in 0..u32::try_from(MOST_OPEN).unwrap() {
            watch.push(&frame(2 * nth + 1, DATA, END_STREAM), || now).unwrap();
        }

        assert!(watch.open.is_empty() && watch.open_bodies() > 0);
    }

    #[test]
    fn a_steady_ping_below_the_rate_is_never_a_flood() {
        let begin = Instant::now();
        let (mut watch, ping) = (begun(begin), frame(6, 0, 8));

        for nth in 0..100_000 {
            let now = begin + Duration::from_millis(11) * nth;
            assert_eq!(watch.push(&ping, || now), Ok(0), "ping {nth}");
        }
    }

    #[test]
    fn who_reads_much_may_say_much() {
        let now = Instant::now();
        let (mut watch, update, ping) = (begun(now), frame(8, 0, 4), frame(6, 0, 8));

        for _ in 0..100_000 {
            watch.wrote(16_384);
            watch.push(&update.repeat(4), || now).unwrap();
            watch.push(&ping, || now).unwrap();
            watch.wrote(17);
        }
        // Nothing of it can be saved up beyond the burst.
        assert_eq!(taken(&mut watch, &ping, now), 999);
    }

    #[test]
    fn pieces_do_not_change_the_count() {
        let now = Instant::now();
        let frames =
            [frame(4, 0, 6), frame(6, 0, 8), frame(0, 0, 300), frame(1, 4, 40), frame(8, 0, 4)].concat();
        for size in 1..40 {
            let mut watch = begun(now);
            let mut left = frames.repeat(100);
            left.extend(frame(4, 0, 0));

            let mut ended = None;
            for piece in left.chunks(size) {
                ended = ended.or(watch.push(piece, || now).err());
            }

            assert_eq!(ended, Some(Flood("settings")), "in pieces of {size}");
        }
    }
}
