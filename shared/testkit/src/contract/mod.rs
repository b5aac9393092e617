//! What every implementation of a port must do, run unchanged against memory, the emulator and the
//! cloud. Each suite is a module of async functions, one for each sentence of the contract; its
//! macro makes a test of each:
//!
//! ```ignore
//! async fn open() -> (MyLedger, MyGuard) { .. } // the guard lives as long as the test
//! ledgerline_testkit::ledger_contract!(open);
//! ```
//!
//! Every test gets a store of its own from `open`, or at least one that nobody else writes to. The
//! tests are `#[tokio::test]`s, so the crate that runs them depends on Tokio; this one does not.

pub mod claims;
pub mod commits;
pub mod entities;
pub mod ledger;
pub mod list;

/// Makes a test of each sentence in [`contract::ledger`](crate::contract::ledger),
/// [`contract::commits`](crate::contract::commits) and [`contract::claims`](crate::contract::claims).
/// Takes an `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! ledger_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, ledger:
            an_entity_without_versions_has_no_newest,
            an_appended_version_is_the_newest,
            each_version_can_be_read_by_its_number,
            an_existing_version_is_occupied_by_the_stored_item_in_full,
            a_version_of_the_same_command_is_a_success,
            of_concurrent_appends_of_one_version_exactly_one_wins,
            history_is_newest_first_over_all_pages,
            history_begins_below_before_and_holds_at_most_limit,
            keys_that_look_alike_never_see_each_other,
            a_scan_meets_every_version_once,
            an_audit_meets_every_version_and_claim_once_and_no_idempotency_record,
            any_text_and_any_whole_number_reads_back_unchanged,
            an_item_that_is_too_large_is_refused_and_not_stored,
        }
        $crate::contract_tests! { $open, commits:
            an_empty_commit_is_a_success,
            a_commit_writes_all_of_it,
            a_commit_of_which_one_condition_fails_writes_nothing,
            a_used_key_is_reported_before_a_version_and_a_version_before_a_claim,
            the_lost_answer_of_a_commit_is_a_success,
            a_request_is_remembered_until_it_expires,
            another_tenants_key_is_another_key,
            of_concurrent_requests_with_one_key_exactly_one_wins,
            a_version_that_may_expire_is_otherwise_unchanged,
            the_expiry_of_a_missing_version_is_rejected,
            an_item_that_is_written_twice_in_one_commit_is_rejected,
            a_hundred_operations_are_written_and_one_more_is_refused,
            an_item_is_written_up_to_its_limit_and_not_a_byte_beyond,
            a_commit_is_written_up_to_its_limit_and_not_a_byte_beyond,
        }
        $crate::contract_tests! { $open, claims:
            a_taken_value_is_refused_to_others,
            a_released_value_is_free,
            a_transferred_value_changes_hands,
            a_deleted_entitys_value_is_taken_and_not_given_back,
            values_that_look_alike_are_different_values,
            of_concurrent_takers_of_a_value_exactly_one_wins,
        }
    };
}

/// Makes a test of each sentence in [`contract::entities`](crate::contract::entities). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! entities_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, entities:
            an_entity_that_was_never_applied_is_missing,
            an_applied_version_reads_back_in_full,
            the_newest_version_wins_in_any_order,
            a_version_that_is_there_already_is_unchanged,
            a_fork_is_reported_and_not_written,
            one_call_applies_many_entities_each_by_its_own_rule,
            keys_that_look_alike_are_different_rows,
        }
    };
}

/// Makes a test of each sentence in [`contract::list`](crate::contract::list). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! list_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, list:
            without_a_sort_entities_come_by_id,
            pages_follow_each_other_without_gap_or_repeat,
            entities_without_the_sorted_field_come_last_either_way,
            numbers_are_sorted_and_compared_as_numbers,
            filters_must_all_hold,
            deleted_entities_are_listed_only_on_request,
            another_tenant_or_type_is_never_listed,
            the_total_counts_all_that_match,
        }
    };
}

/// What the suites' macros are made of.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ($open:path, $suite:ident: $($sentence:ident,)+) => {
        $(
            #[tokio::test]
            async fn $sentence() {
                let (port, _guard) = $open().await;
                $crate::contract::$suite::$sentence(&port).await;
            }
        )+
    };
}
