// SPDX-License-Identifier: GPL-2.0
//! EventNet: its messages and files, and the events that nodes record.

mod causes;
mod messages;
mod module;
mod recording;

use crate::Test;
use std::time::Duration;

pub const TESTS: &[(&str, Test)] = &[
    ("eventnet_messages", messages::messages),
    ("eventnet_bad_messages", messages::bad_messages),
    ("eventnet_files_edited_by_people", messages::edited_files),
    ("eventnet_links_are_not_followed", messages::links),
    ("eventnet_full_disk", messages::full_disk),
    (
        "eventnet_what_waits_is_written_at_the_end",
        messages::at_the_end,
    ),
    (
        "eventnet_edges_do_not_wait_for_vertices",
        messages::full_vertices,
    ),
    ("eventnet_merges_leave_time_for_others", messages::merges),
    (
        "eventnet_a_user_leaves_room_in_the_file_for_others",
        messages::shares,
    ),
    (
        "eventnet_a_remote_call_on_all_nodes",
        recording::remote_call,
    ),
    ("eventnet_a_call_that_fails", recording::failed_call),
    ("eventnet_why_across_a_job", causes::across_job),
    ("eventnet_why_across_a_message", causes::across_message),
    ("eventnet_exports_and_answers", recording::answers),
    ("eventnet_clocks_an_hour_apart", recording::clocks_apart),
    ("eventnet_a_ring_overflows", recording::overflow),
    (
        "eventnet_a_node_dies_while_events_are_read",
        recording::dead_node,
    ),
    ("eventnet_modules_in_c", module::module_in_c),
    ("eventnet_unload_while_others_log", module::unload),
];

const PATIENCE: Duration = Duration::from_secs(20);
