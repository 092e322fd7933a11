//! Which shards are encoded again, and how, so that a film has the bytes that it may
//! have: as few as a small step does, or all where it is far off.

use std::cmp::Reverse;

use super::{
    budget::{aimed_at, budget, is_within},
    curve::shift,
    rates::Rates,
};
use crate::{
    job_entry::JobEntry,
    limits::{CORRECTION_STEP_CENTI, ENLARGEMENTS_MAX},
    spec::Aim,
};

/// A shard that is done.
#[derive(Clone, Copy)]
struct Made {
    number: u32,
    payload: u64,
    centi: u32,
}

/// The shards to be encoded again, by number, with their new rate factors in
/// hundredths; none where the film is as it should be, or can't be nearer.
pub(crate) fn corrections(entry: &JobEntry) -> Vec<(u32, u32)> {
    let (Some(rate), Some(aim)) = (entry.job.rate, entry.job.spec.aim()) else {
        return Vec::new();
    };
    let Some(budget) = budget(entry, aim).filter(|_| !matches!(aim, Aim::Quality(..))) else {
        return Vec::new();
    };
    let made = entry.shards().map(|task| Made {
        number: task.number,
        payload: task.payload,
        centi: entry.rate_centi(task),
    });
    let mut made: Vec<Made> = made.collect();
    let total: u64 = made.iter().map(|shard| shard.payload).sum();
    let enough = total <= budget && rate.corrections >= ENLARGEMENTS_MAX;
    if is_within(total, budget) || total == 0 || enough {
        return Vec::new();
    }
    let rates = Rates::of(entry.job.spec.codec());
    let (goal, halving) = (
        aimed_at(budget, rate.corrections).max(1),
        rate.halving_centi.max(1),
    );
    // Those that were not changed yet, and the largest of these.
    made.sort_by_key(|shard| {
        let film = rates.of_shard(rate.film_centi, shard.number);
        let changed = shard.centi.abs_diff(film);
        (changed, Reverse(shard.payload), shard.number)
    });
    let far = total.abs_diff(goal) > total / 16;
    let changed = match (far, rates.step) {
        (true, _) => all(&made, total, goal, halving, rates),
        (false, 1) => few(&made, total, goal, halving),
        (false, step) => whole_steps(&made, total, goal, halving, step, rates),
    };
    let new = changed.into_iter().map(|(shard, centi)| {
        let centi = centi.clamp(rates.low.into(), rates.high.into()) as u32;
        (shard, centi)
    });
    let new = new.filter(|(shard, centi)| shard.centi != *centi);
    new.map(|(shard, centi)| (shard.number, centi)).collect()
}

/// Moves all shards by what the film is off.
fn all(made: &[Made], total: u64, goal: u64, halving: u32, rates: Rates) -> Vec<(Made, i64)> {
    let moved = shift(total, goal, halving);
    let new = made.iter().map(|shard| {
        let wanted = i64::from(shard.centi) + moved;
        let wanted = wanted.clamp(rates.low.into(), rates.high.into()) as u32;
        (*shard, i64::from(rates.of_shard(wanted, shard.number)))
    });
    new.collect()
}

/// Moves as few shards as a step does that nobody sees.
fn few(made: &[Made], total: u64, goal: u64, halving: u32) -> Vec<(Made, i64)> {
    let off = total.abs_diff(goal);
    let mut taken = 0_u64;
    let mut chosen = Vec::new();
    for shard in made {
        if off <= change_of(taken, CORRECTION_STEP_CENTI, halving) {
            break;
        }
        taken += shard.payload;
        chosen.push(*shard);
    }
    let wanted = match total > goal {
        true => taken.saturating_sub(off),
        false => taken + off,
    };
    let moved = shift(taken.max(1), wanted.max(1), halving);
    // It is off after all, so that the least step is one.
    let moved = match moved {
        0 if total > goal => 1,
        0 => -1,
        moved => moved,
    };
    let new = chosen.into_iter();
    new.map(|shard| (shard, i64::from(shard.centi) + moved))
        .collect()
}

/// How much about so many bytes change by a step: ln 2 of them for each halving.
fn change_of(bytes: u64, step_centi: u32, halving: u32) -> u64 {
    let change = u128::from(bytes) * u128::from(step_centi) * 693 / 1_000;
    (change / u128::from(halving)).min(u64::MAX.into()) as u64
}

/// Moves shards by one whole step each until the film fits: the largest first whose
/// change is not more than is still to be done.
fn whole_steps(
    made: &[Made],
    total: u64,
    goal: u64,
    halving: u32,
    step: u32,
    rates: Rates,
) -> Vec<(Made, i64)> {
    let smaller = total > goal;
    let direction = if smaller { 1 } else { -1 };
    let mut left = total.abs_diff(goal);
    let mut chosen = Vec::new();
    for shard in made {
        let centi = i64::from(shard.centi) + direction * i64::from(step);
        let change = change_of(shard.payload, step, halving);
        let may = (i64::from(rates.low)..=i64::from(rates.high)).contains(&centi);
        if may && change > 0 && change <= left {
            left -= change;
            chosen.push((*shard, centi));
        }
    }
    // What is too large has to become smaller, if by more than is needed.
    let is_chosen = |of: &Made| chosen.iter().any(|(shard, _)| shard.number == of.number);
    if smaller && left > goal / 400 {
        let others = made.iter().filter(|shard| !is_chosen(shard));
        let others = others.filter(|shard| shard.centi + step <= rates.high);
        if let Some(least) = others.min_by_key(|shard| shard.payload) {
            chosen.push((*least, i64::from(least.centi + step)));
        }
    }
    chosen
}
