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

pub mod audit;
pub mod blobs;
pub mod bus;
pub mod claims;
pub mod commits;
pub mod deltas;
pub mod entities;
pub mod imports;
pub mod ledger;
pub mod list;
pub mod objects;
pub mod quarantine;
pub mod queue;
pub mod ranges;

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

/// Makes a test of each sentence in [`contract::ranges`](crate::contract::ranges). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! ranges_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, ranges:
            keys_come_in_the_order_of_their_stored_form,
            a_range_is_a_prefix_or_from_one_key_to_before_another,
            pages_of_a_range_follow_each_other,
            deleted_entities_leave_no_empty_pages,
            another_tenants_keys_are_never_in_range,
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
            words_find_what_has_all_of_them,
            versions_are_those_that_lists_show,
        }
    };
}

/// Makes a test of each sentence in [`contract::bus`](crate::contract::bus). Takes an
/// `async fn() -> (port, guard)` whose port is a [`Subscriber`](crate::contract::bus::Subscriber) too.
#[macro_export]
macro_rules! bus_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, bus:
            nothing_published_is_nothing_to_answer,
            every_message_arrives_as_it_was_sent,
            messages_of_the_largest_size_arrive,
            a_message_that_is_too_large_is_rejected_alone,
            a_repetition_arrives_under_the_same_id,
        }
    };
}

/// Makes a test of each sentence in [`contract::blobs`](crate::contract::blobs). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! blobs_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, blobs:
            content_that_was_never_kept_is_missing,
            kept_content_is_read_back_to_the_byte,
            content_can_be_kept_again,
            content_can_be_kept_by_several_at_once,
            another_tenants_content_is_missing,
        }
    };
}

/// Makes a test of each sentence in [`contract::queue`](crate::contract::queue). Takes an
/// `async fn() -> (port, guard)` whose port is a [`Worker`](crate::contract::queue::Worker) too.
#[macro_export]
macro_rules! queue_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, queue:
            nothing_sent_is_nothing_to_answer,
            every_message_is_delivered_as_it_was_sent,
            messages_of_the_largest_size_are_delivered,
            a_message_that_cannot_be_sent_is_rejected_alone,
        }
    };
}

/// Makes a test of each sentence in [`contract::objects`](crate::contract::objects). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! objects_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, objects:
            an_object_that_is_not_there_is_no_error,
            an_object_is_read_back_to_the_byte_in_any_range,
            an_object_is_replaced_and_its_etag_with_it,
            nothing_is_read_of_an_object_that_was_replaced,
            a_copy_has_the_content_of_what_it_was_made_of,
            an_object_can_be_copied_onto_itself,
        }
    };
}

/// Makes a test of each sentence in [`contract::audit`](crate::contract::audit) about the ledger's
/// index. Takes an `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! index_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, audit:
            an_index_lists_the_versions_of_a_partition_entity_by_entity,
            an_index_lists_all_partitions_each_in_one_piece,
            an_index_of_an_unknown_partition_is_empty,
            an_index_goes_on_over_all_pages,
        }
    };
}

/// Makes a test of each sentence in [`contract::audit`](crate::contract::audit) about read models of
/// current states. Takes an `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! audit_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, audit:
            what_is_held_is_told_and_what_is_not_is_left_out,
            a_digest_is_the_sum_of_a_tenants_hashes,
            a_digest_takes_in_all_pages,
            entities_are_listed_in_pages_each_once,
            a_list_of_entities_is_full_over_all_pages,
            what_the_ledger_does_not_have_is_replaced,
            what_has_changed_meanwhile_is_not_replaced,
        }
    };
}

/// Makes a test of each sentence in [`contract::audit`](crate::contract::audit) about resyncs and
/// rounds. Takes an `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! resyncs_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, audit:
            a_resync_is_read_back_by_its_tenant_as_saved_last,
            the_same_resync_is_not_asked_for_twice,
            of_many_who_ask_at_once_one_is_written_down,
            the_next_resync_is_the_oldest_that_is_not_finished,
            the_newest_round_is_the_one_that_began_last,
        }
    };
}

/// Makes a test of each sentence in [`contract::imports`](crate::contract::imports). Takes an
/// `async fn() -> (port, guard)` whose port is a ledger too.
#[macro_export]
macro_rules! imports_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, imports:
            an_import_is_created_once_and_read_back_in_full,
            a_tenants_imports_are_listed_newest_first_and_nobody_elses,
            an_import_is_replaced_only_by_who_has_seen_its_revision,
            of_concurrent_changes_of_an_import_exactly_one_is_made,
            an_outcome_is_written_with_what_it_tells_of_or_not_at_all,
            an_outcome_by_itself_is_written_once,
            a_taken_place_is_reported_before_anything_else,
            the_lost_answer_of_an_outcome_is_a_success,
            the_outcomes_of_a_chunk_come_in_the_order_of_its_rows,
            outcomes_are_read_page_by_page_and_added_up,
            what_is_shown_is_marked_and_forgotten,
            an_outcome_that_is_too_large_is_refused,
            an_audit_leaves_out_what_is_kept_of_imports,
            holders_of_many_values_are_found_at_once,
            entities_that_exist_are_found_at_once,
        }
    };
}

/// Makes a test of each sentence in [`contract::deltas`](crate::contract::deltas). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! deltas_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, deltas:
            an_entity_that_was_never_taken_in_has_no_position,
            a_move_leaves_its_position_and_adds_its_changes,
            a_move_from_elsewhere_is_lost_and_adds_nothing,
            of_many_moves_those_that_stand_are_made,
            a_number_is_one_key_however_it_is_spelt,
            a_row_whose_sums_are_all_zero_is_gone,
            of_concurrent_moves_of_an_entity_exactly_one_wins,
            a_change_that_cannot_be_stored_moves_nobody,
            another_tenants_rows_are_other_rows,
            a_summary_is_read_page_by_page_in_the_order_of_its_keys,
            sums_are_exact_however_many_digits_they_take,
        }
    };
}

/// Makes a test of each sentence in [`contract::quarantine`](crate::contract::quarantine). Takes an
/// `async fn() -> (port, guard)`.
#[macro_export]
macro_rules! quarantine_contract {
    ($open:path) => {
        $crate::contract_tests! { $open, quarantine:
            the_third_strike_quarantines_one_thing_in_one_projection,
            what_is_quarantined_keeps_the_newest_version_and_the_latest_error,
            what_was_taken_after_all_is_released,
            strikes_against_what_went_through_are_forgotten,
            a_list_is_read_page_by_page_and_only_what_was_asked_for,
            a_record_with_a_nul_in_it_is_quarantined_all_the_same,
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
