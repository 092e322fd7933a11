//! How many requests a second a tenant's keys may make of this node.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::limits::{RATE_BURST, RATES_KEPT_MAX};

/// When each tenant's requests would be even again, had they come evenly.
#[derive(Default)]
pub struct Rates(Mutex<BTreeMap<String, Instant>>);

impl Rates {
    /// Counts a request; whether it comes too early. A tenant that has asked
    /// nothing for a while may ask for [`RATE_BURST`] at once.
    pub fn exceeds(&self, tenant: &str, per_second: u32, now: Instant) -> bool {
        let apart = Duration::from_secs(1) / per_second.max(1);
        // Nothing is left half-done while it is held.
        let mut even = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if even.len() >= RATES_KEPT_MAX {
            even.retain(|_, at| *at > now);
        }
        let at = even.get(tenant).copied().unwrap_or(now).max(now);
        if at.saturating_duration_since(now) + apart > RATE_BURST.max(apart) {
            return true;
        }
        even.insert(tenant.to_string(), at + apart);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_asks_as_often_as_it_may_and_keeps_no_other_from_asking() {
        let (rates, start) = (Rates::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        let asked = |tenant, now| (0..20).filter(|_| !rates.exceeds(tenant, 5, now)).count();
        assert_eq!(asked("a", at(0)), 5, "a second's worth at once");
        assert_eq!(asked("b", at(0)), 5);
        assert_eq!(asked("a", at(390)), 1);
        assert_eq!(asked("a", at(10_000)), 5, "no more after a pause");
        assert!(!rates.exceeds("c", 1, at(0)) && rates.exceeds("c", 1, at(999)));
        assert!(!rates.exceeds("c", 1, at(1_000)));
    }
}
