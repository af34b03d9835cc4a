// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of budgets: who may have how much.

use kernel::prelude::*;

#[kunit_tests(virgo_budget)]
mod tests {
    use kernel::prelude::*;
    use virgo_utils::budget::Budget;

    #[test]
    fn a_user_gets_a_share_and_root_all() -> Result {
        let budget = Budget::new(100)?;
        let first = budget.charge(1, 50)?;
        assert_eq!(budget.charge(1, 1).err(), Some(EDQUOT));
        let second = budget.charge(2, 30)?;
        let root = budget.charge(0, 20)?;
        assert_eq!(budget.charge(0, 1).err(), Some(ENOMEM));
        assert_eq!(budget.charge(3, 1).err(), Some(ENOMEM));
        assert_eq!((budget.used(), budget.free()), (100, 0));
        drop(first);
        assert_eq!(budget.used(), 50);
        drop((second, root));
        let whole = budget.charge(0, 100)?;
        assert_eq!(whole.amount(), 100);
        Ok(())
    }

    #[test]
    fn charges_are_resized_within_the_bounds() -> Result {
        let budget = Budget::new(100)?;
        let mut charge = budget.charge(1, 10)?;
        charge.resize(50)?;
        assert_eq!(charge.resize(51).err(), Some(EDQUOT));
        assert_eq!((charge.amount(), budget.used()), (50, 50));
        charge.resize(0)?;
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.charge(0, u64::MAX).err(), Some(ENOMEM));
        assert_eq!(budget.used(), 0);
        Ok(())
    }

    #[test]
    fn what_is_there_already_counts_but_is_not_refused() -> Result {
        let budget = Budget::new(100)?;
        let kept = budget.account(1)?.charge_unbounded(1000);
        assert_eq!(budget.charge(2, 1).err(), Some(ENOMEM));
        drop(kept);
        assert!(budget.charge(2, 1).is_ok());
        Ok(())
    }

    #[test]
    fn an_account_in_use_is_the_users_only_one() -> Result {
        let budget = Budget::new(100)?;
        let account = budget.account(1)?;
        // Others come and go, which removes accounts that are not in use.
        for uid in 2..10 {
            drop(budget.charge(uid, 1)?);
        }
        let _charge = account.charge(40)?;
        assert_eq!(budget.charge(1, 20).err(), Some(EDQUOT));
        let mut users = 0;
        budget.for_each(|uid, used| {
            assert_eq!((uid, used), (1, 40));
            users += 1;
        });
        assert_eq!(users, 1);
        Ok(())
    }
}
