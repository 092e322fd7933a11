//! One line of a node's log, as an [`Event`] if it is one.

use crate::events::{AttemptKey, Event, EventKind};

/// A line that `reelraft dev` passes on, with the node's name before it:
/// `n1  | 2026-11-21T09:19:46.592512Z  INFO session opened node=3 running=0`
pub(crate) fn parse_dev_line(line: &str) -> Option<Event> {
    let line = without_colour(line);
    let (name, rest) = line.split_once(" | ")?;
    parse_node_line(name.trim().strip_prefix('n')?.parse().ok()?, rest)
}

/// A line of a node's own log:
/// `2026-11-21T09:19:46.592512Z  INFO session opened node=3 running=0`
pub(crate) fn parse_node_line(node: u64, line: &str) -> Option<Event> {
    let line = without_colour(line);
    let mut words = line.trim().splitn(3, char::is_whitespace);
    let at_us = parse_time(words.next()?)?;
    // The level is padded: a second blank may stand before or after it.
    let rest = words.nth(1)?.trim_start();
    let message = ["INFO ", "WARN ", "ERROR "]
        .iter()
        .find_map(|level| rest.strip_prefix(level))
        .unwrap_or(rest);
    let kind = parse_message(message)?;
    Some(Event { at_us, node, kind })
}

fn parse_message(message: &str) -> Option<EventKind> {
    let begins = |words: &str| message.starts_with(words);
    let number = |name: &str| field(message, name)?.parse().ok();
    let key = || AttemptKey::parse(field(message, "key")?);
    Some(if begins("ready ") {
        EventKind::Ready
    } else if begins("caught up") {
        EventKind::CaughtUp
    } else if begins("this node leads") {
        let term = number("term")?;
        EventKind::BecameLeader { term }
    } else if begins("this node no longer leads") {
        EventKind::LostLeadership
    } else if begins("session opened") {
        let with = number("node")?;
        EventKind::SessionOpened { with }
    } else if begins("assigned key=") {
        let (key, to) = (key()?, number("node")?);
        EventKind::Assigned { key, to }
    } else if begins("started key=") {
        EventKind::Started { key: key()? }
    } else if begins("finished key=") {
        EventKind::Finished { key: key()? }
    } else if begins("failed key=") {
        let problem = message.split_once("problem=").map_or("", |(_, text)| text);
        let (key, problem) = (key()?, problem.to_string());
        EventKind::Failed { key, problem }
    } else if begins("no longer ours, stopping") {
        EventKind::Stopped { key: key()? }
    } else {
        return None;
    })
}

/// The value of `name=value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split(' ')
        .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// Without the terminal's escapes, which stand between `ESC [` and `m`.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((text, after)) = rest.split_once("\x1b[") {
        plain.push_str(text);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// `2026-11-21T09:19:46.592512Z` as microseconds since 1970.
fn parse_time(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<u64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (time, micros) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let micros: u64 = format!("{micros:0<6}").get(..6)?.parse().ok()?;
    // Years counted from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let seconds = (days.checked_sub(719_468)?) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_of_dev_names_its_node_and_its_moment() {
        let line = "\x1b[2mn2  | \x1b[0m\x1b[2m2026-11-21T09:19:46.592512Z\x1b[0m \x1b[32m INFO\x1b[0m \
                    assigned key=j1/shard/4#2 node=3";
        let event = parse_dev_line(line).unwrap();
        assert_eq!((event.node, event.at_us), (2, 1_795_252_786_592_512));
        let key = AttemptKey::parse("j1/shard/4#2").unwrap();
        assert_eq!(event.kind, EventKind::Assigned { key, to: 3 });
    }
}
