//! Whatever happens in whatever order: never over the cap, nothing held for ever, the sums agree
//! with the rows.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::TempDir;

use super::support::{DAY, NOW, hold, settlement};
use crate::id::{IntentId, OwnerId};
use crate::money::Money;
use crate::store::{CostBy, DayScope, Grant, Hold, Ledger, Limits, Store, Totals};

/// In picodollars.
const CAP: i64 = 1_000;
const OWNERS: usize = 3;

#[derive(Debug, Clone)]
enum Act {
    Reserve {
        owner: usize,
        amount: i64,
    },
    /// Settles one of the known sends (again, perhaps) for this share of its amount.
    Settle {
        which: prop::sample::Index,
        percent: i64,
    },
    /// Asks again for one of the known sends.
    Repeat {
        which: prop::sample::Index,
    },
    /// An owner dies and somebody notices.
    Die {
        owner: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..OWNERS, 0..400_i64).prop_map(|(owner, amount)| Act::Reserve { owner, amount }),
        3 => (any::<prop::sample::Index>(), 0..=100_i64).prop_map(|(which, percent)| Act::Settle { which, percent }),
        1 => any::<prop::sample::Index>().prop_map(|which| Act::Repeat { which }),
        1 => (0..OWNERS).prop_map(|owner| Act::Die { owner }),
    ]
}

/// What the ledger should hold.
#[derive(Default)]
struct Model {
    /// In order; the cost once settled.
    sends: Vec<(Hold, Option<i64>)>,
    /// How often each owner died: the next life has another name.
    lives: BTreeMap<usize, u32>,
    dead: BTreeSet<OwnerId>,
}

impl Model {
    fn owner(&self, owner: usize) -> OwnerId {
        OwnerId::new(format!(
            "owner-{owner}-{}",
            self.lives.get(&owner).copied().unwrap_or(0)
        ))
    }

    fn spent(&self) -> i64 {
        self.sends.iter().filter_map(|(_, cost)| *cost).sum()
    }

    fn reserved(&self) -> i64 {
        self.sends
            .iter()
            .filter(|(_, cost)| cost.is_none())
            .map(|(hold, _)| hold.amount.pico())
            .sum()
    }

    async fn perform(&mut self, ledger: &Ledger, act: &Act) {
        match act {
            Act::Reserve { owner, amount } => {
                let mut wish = hold(&format!("send-{}", self.sends.len()), 0, 0);
                wish.owner = self.owner(*owner);
                wish.amount = Money::from_pico(*amount);
                wish.caps[0].limit = Money::from_pico(CAP);
                let fits = *amount == 0 || self.spent() + self.reserved() + amount <= CAP;
                let grant = ledger.reserve(wish.clone()).await.unwrap();
                assert_eq!(grant == Grant::Granted, fits);
                if fits {
                    self.sends.push((wish, None));
                }
            }
            Act::Settle { which, percent } if !self.sends.is_empty() => {
                let (hold, cost) = which.get_mut(&mut self.sends);
                let now = hold.amount.pico() * percent / 100;
                ledger
                    .settle(&hold.intent, settlement(Money::from_pico(now)))
                    .await
                    .unwrap();
                cost.get_or_insert(now);
            }
            Act::Repeat { which } if !self.sends.is_empty() => {
                let (hold, cost) = which.get(&self.sends);
                let answer = ledger.reserve(hold.clone()).await;
                match cost {
                    None => assert_eq!(answer.unwrap(), Grant::Granted),
                    Some(_) => assert_eq!(answer.unwrap_err().code, "intentSettled"),
                }
            }
            Act::Die { owner } => {
                self.dead.insert(self.owner(*owner));
                *self.lives.entry(*owner).or_default() += 1;
                let dead = &self.dead;
                ledger
                    .reconcile(|owner| !dead.contains(owner), NOW)
                    .await
                    .unwrap();
                for (hold, cost) in &mut self.sends {
                    if dead.contains(&hold.owner) {
                        cost.get_or_insert(hold.amount.pico());
                    }
                }
            }
            Act::Settle { .. } | Act::Repeat { .. } => {}
        }
    }

    async fn compare(&self, ledger: &Ledger) {
        let totals = ledger.day_totals(DAY, &DayScope::User).await.unwrap();
        assert_eq!(
            (totals.cost.pico(), totals.reserved.pico()),
            (self.spent(), self.reserved())
        );
        assert!(totals.cost.plus(totals.reserved).pico() <= CAP);
        let rows = ledger.costs(CostBy::Run, None, None).await.unwrap();
        let summed = rows
            .iter()
            .fold(Totals::default(), |sum, row| sum.plus(row.totals));
        assert_eq!(summed, totals, "the sums agree with the rows");
        assert_eq!(ledger.run_totals(&"run".into()).await.unwrap(), totals);
    }
}

/// In memory where the machine has such a place: hundreds of commits are synced.
fn fast_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_breaks_the_cap_or_leaves_money_held(acts in prop::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = fast_folder();
            let store = Store::open(folder.path()).await.unwrap();
            let ledger = store.ledger();
            let mut model = Model::default();
            for act in &acts {
                model.perform(&ledger, act).await;
                model.compare(&ledger).await;
            }
            let open: Vec<IntentId> = model.sends.iter().map(|(hold, _)| hold.intent.clone()).collect();
            for intent in open {
                ledger.settle(&intent, settlement(Money::ZERO)).await.unwrap();
            }
            let end = ledger.day_totals(DAY, &DayScope::User).await.unwrap();
            assert_eq!((end.reserved, end.cost.pico()), (Money::ZERO, model.spent()));
            store.close().await;
        });
    }
}
