//! Small houses with one fault each: a check that can't see it is blind.

use crate::{
    circles, foreign, house::House, impurities, lints_switched_off, long_functions,
    modules::TargetKind, resolve::Resolver, rooms,
};

/// The circles of a library that is made of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let house = House::made_up(files, &[("made_up", TargetKind::Library, "lib.rs")]);
    let found = circles::circles(&house, &Resolver::new(&house), 0);
    found.into_iter().map(|circle| circle.files).collect()
}

#[test]
fn two_files_that_import_each_other_are_a_circle() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B; pub fn f(a: &crate::a::A) {}"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}

#[test]
fn a_reexport_hides_no_circle() {
    let found = circles_of(&[
        ("lib.rs", "mod room;"),
        (
            "room/mod.rs",
            "mod a; mod b; pub use a::*; pub use b::B as Other;",
        ),
        ("room/a.rs", "use super::Other; pub struct A(Other);"),
        (
            "room/b.rs",
            "use crate::room::{A}; pub struct B; fn f(a: &A) {}",
        ),
    ]);
    assert_eq!(found, [["room/a.rs", "room/b.rs"]]);
}

#[test]
fn a_parent_whose_item_its_child_needs_must_not_need_the_child() {
    let found = circles_of(&[
        ("lib.rs", "mod room;"),
        (
            "room.rs",
            "mod inner; pub struct Context; fn run(c: &Context) { inner::step(c) }",
        ),
        ("room/inner.rs", "pub fn step(c: &super::Context) {}"),
    ]);
    assert_eq!(found, [["room.rs", "room/inner.rs"]]);
}

#[test]
fn methods_of_one_type_in_two_files_are_no_hiding_place() {
    let found = circles_of(&[
        ("lib.rs", "mod engine; mod repair;"),
        (
            "engine.rs",
            "pub struct Engine; impl Engine { fn run(&self) { self.repair() } }",
        ),
        (
            "repair.rs",
            "use crate::engine::Engine; impl Engine { pub fn repair(&self) {} }",
        ),
    ]);
    assert_eq!(found, [["engine.rs", "repair.rs"]]);
}

#[test]
fn macros_attributes_and_function_bodies_import_too() {
    let found = circles_of(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        (
            "a.rs",
            "pub fn a() -> String { format!(\"{}\", crate::b::b()) }",
        ),
        (
            "b.rs",
            "#[serde(with = \"crate::c::form\")] pub struct B; pub fn b() -> u8 { 0 }",
        ),
        ("c.rs", "pub fn form() { use super::d::*; deep() }"),
        ("d.rs", "pub fn deep() { let f = super::a::a; f(); }"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs", "c.rs", "d.rs"]]);
}

#[test]
fn what_is_handed_on_or_only_tested_is_no_circle() {
    let found = circles_of(&[
        (
            "lib.rs",
            "mod low; mod high; pub use high::High; pub use low::Low;",
        ),
        (
            "low.rs",
            "pub struct Low; #[cfg(test)] mod tests { use super::*; use crate::high::High; }",
        ),
        (
            "high.rs",
            "mod part; use part::Part; use super::Low; pub struct High(Low, Part);",
        ),
        ("high/part.rs", "pub(super) struct Part(crate::low::Low);"),
    ]);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_function_of_71_lines_is_too_long() {
    let body = "\n".repeat(70);
    let text = format!("struct S; impl S {{ async fn long() {{{body}}} fn short() {{}} }}");
    let house = House::made_up(
        &[("lib.rs", &text)],
        &[("made_up", TargetKind::Library, "lib.rs")],
    );
    assert_eq!(long_functions(&house), ["lib.rs:1 fn long has 71 lines"]);
}

#[test]
fn lints_are_found_under_conditions_and_in_macros() {
    let text = "#![cfg_attr(test, allow(dead_code))]
        #[expect(clippy::too_many_lines)] fn long() {}
        wrap! { #[allow(unused)] fn f() {} }
        #[allow(clippy::unwrap_used)] #[derive(Debug)] struct Fine;";
    let house = House::made_up(
        &[("lib.rs", text)],
        &[("made_up", TargetKind::Library, "lib.rs")],
    );
    assert_eq!(
        lints_switched_off(&house),
        [
            "lib.rs:1 allows dead_code",
            "lib.rs:2 allows too_many_lines",
            "lib.rs:3 allows unused",
        ]
    );
}

#[test]
fn a_file_that_no_module_declares_is_dead() {
    let house = House::made_up(
        &[
            (
                "src/lib.rs",
                "mod a; #[cfg(test)] #[path = \"a_tests.rs\"] mod tests;",
            ),
            ("src/a.rs", "mod inner { mod deep; }"),
            ("src/a/inner/deep.rs", ""),
            ("src/a/forgotten.rs", ""),
            ("src/a_tests.rs", ""),
            ("tests/all.rs", "mod harness;"),
            ("tests/harness/mod.rs", "mod disk;"),
            ("tests/harness/disk.rs", ""),
            ("tests/harness/net.rs", ""),
        ],
        &[
            ("made_up", TargetKind::Library, "src/lib.rs"),
            ("all", TargetKind::Other, "tests/all.rs"),
        ],
    );
    assert_eq!(
        house.dead_files(),
        ["src/a/forgotten.rs", "tests/harness/net.rs"]
    );
}

/// The root crate, the wire and the data plane, each of a few lines.
fn small_house(data: &str, grpc: &str) -> House {
    House::made_up(
        &[
            (
                "proto/src/lib.rs",
                "pub mod v1 { include_proto!(\"v1\"); } pub fn dial() {}",
            ),
            (
                "src/lib.rs",
                "pub mod data; pub mod grpc; pub use grpc::convert as shortcut;",
            ),
            ("src/data/mod.rs", data),
            ("src/grpc/mod.rs", grpc),
        ],
        &[
            ("reelraft_proto", TargetKind::Library, "proto/src/lib.rs"),
            ("reelraft", TargetKind::Library, "src/lib.rs"),
        ],
    )
}

#[test]
fn a_room_that_imports_upwards_is_refused_through_a_reexport_too() {
    let house = small_house(
        "fn f() { crate::shortcut() }",
        "pub fn convert() { reelraft_proto::dial() }",
    );
    assert_eq!(
        rooms::forbidden_imports(&house),
        ["src/data/mod.rs:1 names reelraft::grpc::convert; src/data must not import src/grpc"]
    );
    let house = small_house("pub fn f() {}", "pub fn convert() { crate::data::f() }");
    assert_eq!(
        rooms::forbidden_imports(&house).len(),
        1,
        "grpc goes through the api"
    );
}

#[test]
fn wire_types_and_foreign_crates_are_seen_in_types_and_bodies() {
    let house = small_house(
        "fn f(x: reelraft_proto::v1::Job) -> Result<(), tonic::Status> { sled::open() }",
        "use reelraft_proto::v1::{self, Job}; pub fn convert(j: Job) -> tonic::Status { v1::x() }",
    );
    assert_eq!(
        rooms::wire_types_inside(&house),
        ["src/data/mod.rs:1 names v1::Job"]
    );
    assert_eq!(
        foreign::foreign_crates(&house),
        [
            "src/data/mod.rs:1 names sled::open",
            "src/data/mod.rs:1 names tonic::Status"
        ]
    );
}

#[test]
fn a_name_that_nobody_defines_is_not_passed_over() {
    let house = small_house("fn f() { crate::grpc::missing() }", "");
    assert_eq!(
        Resolver::new(&house).unresolved(),
        [
            "src/data/mod.rs:1 names crate::grpc::missing",
            "src/lib.rs:1 names grpc::convert"
        ]
    );
}

#[test]
fn a_clock_in_a_group_of_imports_is_impure() {
    let house = House::made_up(
        &[("lib.rs", "use std::{collections::BTreeMap, time::Instant};")],
        &[("made_up", TargetKind::Library, "lib.rs")],
    );
    assert_eq!(
        impurities(&house, ""),
        ["lib.rs:1 names std::time::Instant"]
    );
}

#[test]
fn a_folder_that_is_in_no_row_is_refused_unless_it_is_for_tests() {
    let house = House::made_up(
        &[
            ("src/lib.rs", "mod attic; #[cfg(test)] mod probe;"),
            ("src/attic.rs", ""),
            ("src/probe.rs", ""),
        ],
        &[("reelraft", TargetKind::Library, "src/lib.rs")],
    );
    assert_eq!(rooms::homeless(&house), ["src/attic.rs"]);
}
