//! A sorted map for what there are many of and little changes: its entries lie
//! in pages of neighbours, and clones share the pages. An entry takes little
//! more than its own size, where one of a tree takes a hundred bytes more.

use std::{ops::Bound, sync::Arc};

use rpds::RedBlackTreeMapSync as Map;

use crate::limits::PAGE_ENTRIES_MAX;

/// The map.
#[derive(Clone, Debug)]
pub(crate) struct Pages<K: Ord, V> {
    /// By a key that is at most that of the page's first entry, and more than
    /// that of the former page's last.
    pages: Map<K, Arc<Vec<(K, V)>>>,
    size: usize,
}

impl<K: Ord + Copy, V: Clone> Pages<K, V> {
    /// How many entries there are.
    pub fn size(&self) -> usize {
        self.size
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    pub fn get(&self, key: &K) -> Option<&V> {
        let (_, page) = self.pages.range(..=*key).next_back()?;
        let at = place(page, key).ok()?;
        Some(&page[at].1)
    }

    /// Adds an entry, or replaces that of its key.
    pub fn insert_mut(&mut self, key: K, value: V) {
        let first = self.start_for(key);
        let Some(page) = self.pages.get_mut(&first) else {
            self.size += 1;
            self.pages.insert_mut(first, Arc::new(vec![(key, value)]));
            return;
        };
        let page = Arc::make_mut(page);
        let at = match place(page, &key) {
            Ok(at) => {
                page[at].1 = value;
                return;
            }
            Err(at) => at,
        };
        self.size += 1;
        if page.len() < PAGE_ENTRIES_MAX {
            page.reserve_exact(1);
            page.insert(at, (key, value));
            return;
        }
        // What comes in order leaves full pages behind.
        let split = if at == page.len() { at } else { page.len() / 2 };
        let mut next = page.split_off(split);
        page.shrink_to_fit();
        match at.checked_sub(split) {
            Some(at) => next.insert(at, (key, value)),
            None => page.insert(at, (key, value)),
        }
        let start = next[0].0;
        self.pages.insert_mut(start, Arc::new(next));
    }

    /// The start of the page that a key belongs to, which is made to reach down
    /// to it.
    fn start_for(&mut self, key: K) -> K {
        if let Some((start, _)) = self.pages.range(..=key).next_back() {
            return *start;
        }
        let lowest = self
            .pages
            .first()
            .map(|(start, page)| (*start, page.clone()));
        if let Some((start, page)) = lowest {
            self.pages.remove_mut(&start);
            self.pages.insert_mut(key, page);
        }
        key
    }

    /// Takes an entry out.
    pub fn remove_mut(&mut self, key: &K) -> Option<V> {
        let start = *self.pages.range(..=*key).next_back()?.0;
        let page = self.pages.get_mut(&start)?;
        let at = place(page, key).ok()?;
        let (_, value) = Arc::make_mut(page).remove(at);
        if page.is_empty() {
            self.pages.remove_mut(&start);
        }
        self.size -= 1;
        Some(value)
    }

    /// All entries, by key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let entries = self.pages.values().flat_map(|page| page.iter());
        entries.map(|(key, value)| (*key, value))
    }

    /// The entries below a key, the highest first.
    pub fn down_from(&self, end: K) -> impl Iterator<Item = (K, &V)> {
        let pages = self.pages.range((Bound::Unbounded, Bound::Excluded(end)));
        let entries = pages.rev().flat_map(|(_, page)| page.iter().rev());
        let entries = entries.skip_while(move |(key, _)| *key >= end);
        entries.map(|(key, value)| (*key, value))
    }
}

fn place<K: Ord, V>(page: &[(K, V)], key: &K) -> Result<usize, usize> {
    page.binary_search_by(|(other, _)| other.cmp(key))
}

impl<K: Ord + Copy, V: Clone> Default for Pages<K, V> {
    fn default() -> Self {
        Pages {
            pages: Map::new_sync(),
            size: 0,
        }
    }
}

/// Where the pages begin is of no matter.
impl<K: Ord + Copy, V: Clone + PartialEq> PartialEq for Pages<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The same done to a plain map, in an order that comes from a seed.
    #[test]
    fn it_holds_what_a_plain_map_holds() {
        for rising in [false, true] {
            let (mut pages, mut plain) = (Pages::default(), BTreeMap::new());
            let mut seed = 1u64;
            for step in 0..20_000u64 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let key = if rising { step } else { seed >> 52 };
                let kept = (step % 1_000 == 0).then(|| (pages.clone(), plain.clone()));
                if step > 5_000 && (seed >> 20) % 3 < 2 {
                    let key = if rising { step - 5_000 } else { key };
                    assert_eq!(pages.remove_mut(&key), plain.remove(&key));
                } else {
                    pages.insert_mut(key, step);
                    plain.insert(key, step);
                }
                assert_eq!(pages.size(), plain.len());
                assert_eq!(pages.get(&key), plain.get(&key));
                // What was cloned before has not changed with it.
                if let Some((pages, plain)) = kept {
                    assert!(
                        pages
                            .iter()
                            .eq(plain.iter().map(|(key, value)| (*key, value)))
                    );
                    let down = plain.range(..key).rev();
                    let down = down.map(|(key, value)| (*key, value));
                    assert!(pages.down_from(key).eq(down));
                    let mut again = Pages::default();
                    plain
                        .iter()
                        .for_each(|(key, value)| again.insert_mut(*key, *value));
                    assert!(again == pages);
                }
            }
            assert!(pages.size() > 100);
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_pages() {
        let mut pages = Pages::default();
        let count = 10 * PAGE_ENTRIES_MAX;
        (0..count).for_each(|key| pages.insert_mut(key, ()));
        assert_eq!(pages.pages.size(), 10);
    }
}
