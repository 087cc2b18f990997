//! What came of the probes, as a table or JSON.

use std::io;

use serde::Serialize;

use super::{must::Must, probe::Probe};
use crate::cli::http::Answer;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    upstream: String,
    signer: String,
    /// Whether everything was as it should be.
    pub ok: bool,
    accepted_wrongly: usize,
    refused_wrongly: usize,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'static str>,
    probes: Vec<Row>,
}

/// A probe and what came of it.
#[derive(Debug, Serialize)]
pub struct Row {
    probe: &'static str,
    about: &'static str,
    expected: &'static str,
    got: &'static str,
    status: Option<u16>,
    /// Whether it was as it should be.
    pub ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

/// What became of a probe.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Got {
    /// It was let in.
    Accepted(u16),
    /// It was not; with what was said.
    Refused(u16, String),
    /// The upstream failed, or had no time: with this status.
    Failed(u16),
    /// There was no answer.
    NoAnswer(String),
    /// There was nothing to send.
    NotSent,
}

impl Got {
    /// 400, 401 and 403 refuse; so does every other answer but success that a good
    /// token does not get.
    pub fn of(answer: io::Result<Answer>, sent: &[String], good: Option<u16>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return Self::NoAnswer(why.to_string()),
        };
        match answer.status {
            400 | 401 | 403 => Self::Refused(answer.status, said(&answer, sent)),
            429 | 500.. => Self::Failed(answer.status),
            status @ 200..300 => Self::Accepted(status),
            status if good.is_none_or(|good| good == status) => Self::Accepted(status),
            status => Self::Refused(status, said(&answer, sent)),
        }
    }

    /// The status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted(status) | Self::Refused(status, _) | Self::Failed(status) => Some(*status),
            Self::NoAnswer(_) | Self::NotSent => None,
        }
    }
}

/// The beginning of what was said, on one line. An upstream that repeats the token is
/// not quoted: it is as good as a password.
fn said(answer: &Answer, sent: &[String]) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    if sent.iter().any(|value| value.len() > 20 && text.contains(value.trim_start_matches("Bearer "))) {
        return String::new();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !c.is_control()).take(160).collect()
}

impl Row {
    /// Compares what should be with what is.
    pub fn new(probe: &Probe, must: Must, got: Got) -> Self {
        let ok = match (must, &got) {
            (Must::Skip(_), _) => true,
            (Must::Accept, got) => matches!(got, Got::Accepted(_)),
            (Must::Refuse, got) => matches!(got, Got::Refused(..)),
            (Must::Either(_), got) => matches!(got, Got::Accepted(_) | Got::Refused(..)),
        };
        let note = match (must, &got) {
            (Must::Skip(why), _) | (Must::Either(why), _) => Some(why.to_owned()),
            (Must::Accept, Got::Refused(_, said)) if !said.is_empty() => Some(format!("it said: {said}")),
            (_, Got::NoAnswer(why)) => Some(why.clone()),
            (_, Got::Failed(_)) => Some("it failed instead of deciding".to_owned()),
            _ => None,
        };
        let (expected, status) = (must.word(), got.status());
        Self { probe: probe.name, about: probe.about, expected, got: got.word(), status, ok, note }
    }

    /// What it was answered with.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    fn line(&self) -> String {
        let verdict = match (self.ok, self.got) {
            (_, "not sent") => "-",
            (true, _) => "ok",
            (false, _) => "WRONG",
        };
        let status = self.status.map(|status| status.to_string()).unwrap_or_default();
        let mut line = format!("{verdict:<6}{:<19}{:<10}{status:<4}", self.probe, self.got);
        if !self.ok {
            line.push_str(&format!(" it should be {}: {}", self.expected, self.about));
        }
        match &self.note {
            Some(note) if self.ok => line.push_str(&format!(" {note}")),
            Some(note) => line.push_str(&format!("\n      {note}")),
            None => {}
        }
        line.trim_end().to_owned() + "\n"
    }
}

impl Must {
    fn word(self) -> &'static str {
        match self {
            Self::Accept => "accepted",
            Self::Refuse => "refused",
            Self::Either(_) => "either",
            Self::Skip(_) => "nothing",
        }
    }
}

impl Got {
    fn word(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Refused(..) => "refused",
            Self::Failed(_) => "failed",
            Self::NoAnswer(_) => "no answer",
            Self::NotSent => "not sent",
        }
    }
}

impl Report {
    /// Sums up.
    pub fn new(upstream: String, signer: String, probes: Vec<Row>) -> Self {
        let wrongly = |got: &str| probes.iter().filter(|row| !row.ok && row.got == got).count();
        let (accepted_wrongly, refused_wrongly) = (wrongly("accepted"), wrongly("refused"));
        let failed = wrongly("failed") + wrongly("no answer");
        let ok = probes.iter().all(|row| row.ok);
        let hint = hint(&probes);
        Self { upstream, signer, ok, accepted_wrongly, refused_wrongly, failed, hint, probes }
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut out = format!("UPSTREAM {}  SIGNER {}\n", self.upstream, self.signer);
        self.probes.iter().for_each(|row| out.push_str(&row.line()));
        self.hint.iter().for_each(|hint| out.push_str(&format!("hint: {hint}\n")));
        let sent = self.probes.iter().filter(|row| row.got != "not sent").count();
        out.push_str(&match self.ok {
            true => format!("it verifies: {sent} probes, each as it should be\n"),
            false => format!(
                "IT DOES NOT VERIFY: of {sent} probes {} wrongly accepted, {} wrongly refused, {} failed\n",
                self.accepted_wrongly, self.refused_wrongly, self.failed
            ),
        });
        out
    }
}

fn hint(probes: &[Row]) -> Option<&'static str> {
    let first = probes.first()?;
    if !first.ok {
        return Some(
            "a good token is not let in, so that no refusal would prove anything; nothing more was sent",
        );
    }
    let sent: Vec<_> = probes.iter().filter(|row| row.got != "not sent").collect();
    if sent.iter().all(|row| row.got == "accepted") {
        return Some(
            "everything is let in: nothing verifies there, or it is a gateway's address, which signs by itself",
        );
    }
    match first.status {
        Some(200..300) => None,
        _ => Some("a good token is answered without success: choose a --path that the upstream serves"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn got(status: u16, good: Option<u16>) -> &'static str {
        Got::of(Ok(Answer { status, body: Vec::new() }), &[], good).word()
    }

    #[test]
    fn what_is_no_success_and_not_what_a_good_token_gets_is_a_refusal() {
        for (status, good, word) in [
            (200, None, "accepted"),
            (404, None, "accepted"),
            (401, None, "refused"),
            (404, Some(404), "accepted"),
            (404, Some(200), "refused"),
            (302, Some(200), "refused"),
            (204, Some(200), "accepted"),
            (403, Some(403), "refused"),
            (500, Some(500), "failed"),
            (429, Some(200), "failed"),
        ] {
            assert_eq!(got(status, good), word, "{status} {good:?}");
        }
    }

    #[test]
    fn an_upstream_that_repeats_the_token_is_not_quoted() {
        let token = "a".repeat(30);
        let refused = |body: &str| {
            let answer = Answer { status: 401, body: body.as_bytes().to_vec() };
            Got::of(Ok(answer), &[format!("Bearer {token}")], None)
        };

        assert_eq!(refused("no\r\n\x1b[31m way"), Got::Refused(401, "no [31m way".to_owned()));
        assert_eq!(refused(&format!("bad token {token}")), Got::Refused(401, String::new()));
    }

    #[test]
    fn where_everything_is_let_in_a_gateway_is_suspected() {
        let row =
            |got| Row { probe: "x", about: "", expected: "", got, status: Some(200), ok: true, note: None };

        let all = Report::new(
            String::new(),
            String::new(),
            vec![row("accepted"), row("not sent"), row("accepted")],
        );
        let some = Report::new(String::new(), String::new(), vec![row("accepted"), row("refused")]);

        assert!(all.hint.unwrap().contains("gateway's address"));
        assert_eq!(some.hint, None);
    }
}
