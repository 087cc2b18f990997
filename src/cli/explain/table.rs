//! An explanation as text of at most 100 columns, in the order in which the
//! questions are asked.

use crate::gateway::explain::{
    AccessTold, ActionTold, AuthenticationTold, EndpointTold, Explanation, ForwardTold, LimitTold, LoserTold,
    PrincipalTold, RequestTold, RoutingTold, UpstreamTold,
};

/// The whole of it.
pub(super) fn draw(told: &Explanation) -> String {
    let mut out = Lines::default();
    let zone = told.zone.as_ref().map_or("zone not known".to_owned(), |zone| format!("zone {zone}"));
    out.add(
        "gateway",
        &match told.generation {
            0 => format!("none, files alone; {zone}; every endpoint is taken to be healthy"),
            generation => format!("generation {generation}, {zone}"),
        },
    );
    request(&mut out, &told.request);
    out.add("client", &client(&told.principal));
    if let Some(routing) = &told.routing {
        routes(&mut out, routing);
    }
    if let Some(access) = &told.access {
        out.add("allow/deny", &rules(access));
    }
    if let Some(authentication) = &told.authentication {
        out.add("vouched by", &vouched(authentication));
    }
    for (nth, limit) in told.limits.iter().enumerate() {
        out.add(if nth == 0 { "limits" } else { "" }, &stands(limit));
    }
    if let Some(max_body) = told.max_body {
        out.add("body", &format!("at most {max_body} bytes"));
    }
    if let Some(action) = &told.action {
        act(&mut out, action);
    }
    told.upstreams.iter().for_each(|upstream| draw_upstream(&mut out, upstream));
    told.notes.iter().for_each(|note| out.add("note", note));
    let status = told.verdict.status.map(|status| format!("{status} ")).unwrap_or_default();
    let flag = told.verdict.flag.as_ref().map(|flag| format!("{flag}: ")).unwrap_or_default();
    out.add("verdict", &format!("{status}{flag}{}", told.verdict.text));
    out.0
}

/// Who is let in is more than these say: somebody may have to vouch first.
fn rules(told: &AccessTold) -> String {
    let allow = told.allow.as_ref().map(|allow| format!("allow [{}]", allow.join(", ")));
    let deny = (!told.deny.is_empty()).then(|| format!("deny [{}]", told.deny.join(", ")));
    let written = allow.into_iter().chain(deny).collect::<Vec<_>>();
    if written.is_empty() {
        return "none".to_owned();
    }
    let admits = if told.admits { "" } else { "; not this request" };
    let rule = told.rule.as_ref().map(|rule| format!(", by `{rule}`")).unwrap_or_default();
    format!("{}{admits}{rule}", written.join(", "))
}

fn vouched(told: &AuthenticationTold) -> String {
    let who = match (&told.consumer, &told.vouched, &told.flaw) {
        (Some(consumer), Some(by), _) => format!("{by}: {consumer}"),
        (_, _, Some(flaw)) => format!("nobody: what it presents is not good ({flaw})"),
        _ => "nobody".to_owned(),
    };
    format!("{} of [{}]; {who}", told.needs, told.of.join(", "))
}

fn request(out: &mut Lines, told: &RequestTold) {
    let query = told.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    out.add("request", &format!("{} {}{}{query}", told.method, told.host, told.path));
    if let Some(written) = &told.written_path {
        out.add("", &format!("its path was written {written}"));
    }
    if let Some(seen) = &told.seen_path {
        out.add("", &format!("routes see {seen}"));
    }
}

fn client(told: &PrincipalTold) -> String {
    let mut text = told.address.clone();
    if let Some(sender) = &told.sender {
        text.push_str(&format!(" by {sender}"));
    }
    match (&told.vpc_endpoint, &told.tenant) {
        (Some(endpoint), Some(tenant)) => text + &format!(", through {endpoint} of tenant {tenant}"),
        (Some(endpoint), None) => text + &format!(", through {endpoint} of no tenant"),
        (None, Some(tenant)) => text + &format!(", of tenant {tenant} by its key"),
        (None, None) => text,
    }
}

fn routes(out: &mut Lines, told: &RoutingTold) {
    match &told.winner {
        Some(winner) => out.add("route", &format!("{} by {} ({})", winner.name, winner.by, winner.source)),
        None => out.add("route", "none"),
    }
    losers(out, "lost", &told.losers, told.more_losers);
    losers(out, "near", &told.near, told.more_near);
    if let Some(hosts) = &told.hosts {
        out.add("hosts", &format!("none of the routes' takes it; {hosts}"));
    }
}

/// As `orders: admits, 19 of 20 left, whole in 1 s; key 00c0ffee00c0ffee`.
fn stands(told: &LimitTold) -> String {
    let mut text = format!("{}: {}", told.name, told.says);
    if let Some(remaining) = told.remaining {
        text.push_str(&format!(", {remaining} of {} left", told.most));
    }
    if let Some(cost) = told.cost.filter(|cost| *cost != 1) {
        text.push_str(&format!(", takes {cost}"));
    }
    if let Some(seconds) = told.whole_in_seconds {
        text.push_str(&format!(", whole in {seconds} s"));
    }
    if let Some(key) = &told.key {
        text.push_str(&format!("; key {key}"));
    }
    text + if told.enforced { "" } else { "; not enforced" }
}

fn losers(out: &mut Lines, label: &str, list: &[LoserTold], more: usize) {
    for (nth, loser) in list.iter().enumerate() {
        let label = if nth == 0 { label } else { "" };
        out.add(label, &format!("{} by {}: {}", loser.name, loser.by, loser.why));
    }
    if more > 0 {
        out.add("", &format!("and {more} more"));
    }
}

fn act(out: &mut Lines, action: &ActionTold) {
    match action {
        ActionTold::Redirect { status, location } => {
            out.add("action", &format!("redirect with {status} to {location}"));
        }
        ActionTold::Respond { status, body_bytes, content_type } => {
            out.add("action", &format!("respond with {status} and {body_bytes} bytes of {content_type}"));
        }
        ActionTold::KeySet => out.add("action", "respond with the public keys of every signer"),
        ActionTold::Forward(told) => forward(out, told),
    }
}

fn forward(out: &mut Lines, told: &ForwardTold) {
    let path = told.path.as_deref().unwrap_or("(the rewrite makes no path of it)");
    out.add("action", &format!("forward as {}{path}", told.host));
    let shares = told.split.iter().map(|part| format!("{} {}", part.upstream, percent(part.share)));
    out.add("", &format!("split: {}", shares.collect::<Vec<_>>().join(", ")));
    if let Some(signed) = &told.signed {
        let claims = signed.claims.join(" ");
        let text =
            format!("signed by {} with {} in {}: {claims}", signed.signer, signed.algorithm, signed.header);
        out.add("", &text);
    }
    // The first that applies decides.
    let mut decided = false;
    for one in &told.overrides {
        let here = match (one.applies, decided) {
            (false, _) => "not in this request",
            (true, false) => "decides",
            (true, true) => "one before it decides",
        };
        decided |= one.applies;
        out.add("", &format!("override by {} to {}: {here}", one.by, one.upstream));
    }
    if let Some(sticky) = &told.sticky {
        let here = match (decided, sticky.has_key) {
            (true, _) => "an override decides",
            (false, true) => "decides",
            (false, false) => "not in this request",
        };
        out.add("", &format!("sticky by {}: {here}", sticky.by));
    }
}

fn draw_upstream(out: &mut Lines, told: &UpstreamTold) {
    let panic = if told.panic { "; PANIC: too few endpoints are in service" } else { "" };
    out.add("upstream", &format!("{}, {} of requests like this{panic}", told.name, percent(told.share)));
    if let Some(why) = &told.refuses {
        out.add("", &format!("takes no request now: {} {}", why.status, why.flag));
    }
    if let Some(most) = told.waits_ms {
        out.add("", &format!("has no room now: a request waits for it, at most {most} ms"));
    }
    let retries = &told.retries;
    let again = match (retries.attempts, retries.repeatable) {
        (0 | 1, _) => "one attempt".to_owned(),
        (attempts, true) => format!("{attempts} attempts, on {}", retries.on.join(", ")),
        (attempts, false) => format!(
            "{attempts} attempts, on {}; this method only where nothing was sent",
            retries.on.join(", ")
        ),
    };
    let silent = retries.per_try_timeout_ms.map(|span| format!("; each at most {span} ms"));
    out.add("", &(again + &silent.unwrap_or_default()));
    if let Some(hash) = &told.hash {
        let here = match (&hash.endpoint, hash.has_key) {
            (Some(endpoint), _) => format!("this request's goes to {endpoint}"),
            (None, true) => "there is nowhere to go".to_owned(),
            (None, false) => "this request has none; any endpoint is drawn".to_owned(),
        };
        out.add("", &format!("hashed by {}: {here}", hash.by));
    }
    for tier in &told.tiers {
        let (share, in_service) = (percent(tier.share), percent(tier.in_service));
        out.add("", &format!("tier {}: {share} of its traffic, {in_service} in service", tier.tier));
        endpoints(out, &tier.endpoints);
        if tier.more > 0 {
            out.row(&format!("and {} more endpoints", tier.more));
        }
    }
    if !told.never.is_empty() {
        out.add("", "weight 0, never picked:");
        endpoints(out, &told.never);
    }
}

fn endpoints(out: &mut Lines, list: &[EndpointTold]) {
    out.row(&format!(
        "{:<24} {:<12} {:>6} {:>7} {:<11} {:>8} IN FLIGHT",
        "ENDPOINT", "ZONE", "WEIGHT", "SHARE", "STATE", "EJECTED"
    ));
    for endpoint in list {
        out.row(&format!(
            "{:<24} {:<12} {:>6} {:>7} {:<11} {:>8} {}",
            endpoint.address,
            endpoint.zone.as_deref().unwrap_or("-"),
            endpoint.weight,
            percent(endpoint.share),
            endpoint.state,
            endpoint.ejected_seconds.map_or("-".to_owned(), |left| format!("{left:.0} s")),
            endpoint.in_flight
        ));
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// Text with a label at the left.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A label and a sentence, broken between words.
    fn add(&mut self, label: &str, text: &str) {
        // At least a space, also where the label fills its place.
        let mut line = format!("{label:<0$} ", INDENT - 1);
        for (nth, word) in text.split(' ').enumerate() {
            if nth > 0 && line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.end(&line);
                line = " ".repeat(INDENT + 2) + word;
                continue;
            }
            if nth > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.end(&line);
    }

    /// A row of a table, as it is.
    fn row(&mut self, text: &str) {
        self.end(&format!("{:INDENT$}  {text}", ""));
    }

    fn end(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }
}

const INDENT: usize = 10;
const WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sentence_is_broken_between_words_and_set_under_itself() {
        let mut out = Lines::default();

        out.add("lost", &"word ".repeat(40));

        let lines: Vec<_> = out.0.lines().collect();
        assert!(lines.len() == 3 && lines.iter().all(|line| line.len() <= WIDTH), "{lines:?}");
        assert!(
            lines[0].starts_with("lost      word word") && lines[1].starts_with("            word"),
            "{lines:?}"
        );
        assert_eq!(out.0.matches("word").count(), 40);
    }

    #[test]
    fn the_first_override_that_applies_decides_and_no_other() {
        let told: ForwardTold = serde_json::from_value(serde_json::json!({
            "split": [{ "upstream": "a", "weight": 95, "share": 0.95 }, { "upstream": "b", "weight": 5, "share": 0.05 }],
            "overrides": [
                { "by": "header x: 1", "upstream": "b", "applies": false },
                { "by": "header y: 1", "upstream": "b", "applies": true },
                { "by": "cookie z=1", "upstream": "a", "applies": true }
            ],
            "sticky": { "by": "cookie id", "has_key": true },
            "path": "/x", "host": "h"
        }))
        .unwrap();
        let mut out = Lines::default();

        forward(&mut out, &told);

        let lines: Vec<_> = out.0.lines().map(str::trim).collect();
        let wanted = [
            "action    forward as h/x",
            "split: a 95.0%, b 5.0%",
            "override by header x: 1 to b: not in this request",
            "override by header y: 1 to b: decides",
            "override by cookie z=1 to a: one before it decides",
            "sticky by cookie id: an override decides",
        ];
        assert_eq!(lines, wanted);
    }
}
