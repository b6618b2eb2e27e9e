//! Every error has its place, says what is wrong, and hides no other. That these texts are wrong was tried with ptxas.

use jet_emu::ptx::{ReadError, parse};

use super::{errors, with_header};

/// The only error of these statements.
fn only(globals: &str, body: &str) -> ReadError {
    let found = errors(globals, body);
    assert_eq!(found.len(), 1, "{body}: {found:#?}");
    found.into_iter().next().expect("there is one")
}

#[test]
fn unknown_names_are_named_with_the_one_that_was_meant() {
    let cases = [
        ("mov.b32 %r1, %r10;", 14, "`%r10`", "line 4 declares `%r<10>`, the last of which is `%r9`"),
        ("mov.b32 %r1, %tidx;", 14, "`%tidx`", "did you mean `%tid`?"),
        ("mov.b32 %r1, %laneidd;", 14, "`%laneidd`", "did you mean `%laneid`?"),
        ("mov.b32 %rr1, 0;", 9, "`%rr1`", "did you mean `%r1`?"),
        ("ld.shared.b32 %r1, [bufer+4];", 21, "`bufer`", "did you mean `buffer`?"),
        ("bra DOME; DONE: ret;", 5, "`DOME`", "did you mean `DONE`?"),
        ("bra INNER; { INNER: ret; }", 5, "`INNER`", "a label of that name stands in another block"),
        ("call helpr, ();", 6, "`helpr`", "did you mean `helper`?"),
        ("@%pp1 ret;", 2, "`%pp1`", "did you mean `%p1`?"),
    ];
    for (body, column, found, help) in cases {
        let error = only(".shared .b32 buffer[4]; .func helper() { ret; }", body);
        assert_eq!((error.line, error.column, error.found.as_str()), (6, column, found), "{body}: {error}");
        assert_eq!(error.help.as_deref(), Some(help), "{body}");
    }
}

#[test]
fn all_errors_are_found_in_one_reading() {
    let body = "mov.b32 %r1, %zz1;\nadd.s32 {%r1, %r2 %r3}, 5;\nmov.b32 %r1, %r2\nmov.b32 %r3, 1;\n;\n.regg .b32 %x;\n{ bra NOWHERE; }\nld.b32 %r1, [%rd1+%rd2];";
    let lines: Vec<u32> = errors("", body).iter().map(|error| error.line).collect();
    assert_eq!(lines, [6, 7, 9, 10, 11, 12, 13]);
}

#[test]
fn an_error_in_one_function_hides_none_in_the_next() {
    let text = with_header(
        ".func f(.param .b32 a .param .b32 b) { ret; }\n.global .u32 x[2] = {1, 2, 3};\n.entry g() { frob %a; ret; }\n.bogus 4;\n.func h( { ret; }",
    );
    let found = parse(&text).expect_err("there are errors");
    let lines: Vec<u32> = found.iter().map(|error| error.line).collect();
    assert_eq!(lines, [4, 5, 6, 7, 8]);
}

#[test]
fn statements_that_are_no_ptx_are_refused() {
    let cases = [
        (";", "must not be empty"),
        ("{ };", "must not be empty"),
        ("mov.b32 %r1, %r2+4;", "only inside brackets"),
        ("ld.b32 %r1, [%rd1+%rd2];", "one base"),
        ("mov.b32 %r1, 12ab;", "no number"),
        ("mov.b32 %r1, 08;", "no number"),
        ("mov.b32 %r1, 0xFFu;", "no number"),
        ("mov.b32 %r1, 0x;", "no number"),
        ("mov.f32 %f1, 0f3F80;", "8 hexadecimal digits"),
        ("mov.f32 %f1, -0f3F800000;", "needs a number that takes part"),
        ("mov.f32 %f1, 0f3F800000+0f3F800000;", "no part in arithmetic"),
        ("mov.b64 %rd1, 18446744073709551616;", "64 bits"),
        ("mov.b64 %rd1, 1/0;", "by zero"),
        ("mov.b64 %rd1, 1<<64;", "0 to 63"),
        ("mov.b32 %r1, %r2.x;", "no vector"),
        ("mov.b32 %r1, %laneid.x;", "no such component"),
        ("mov.b32 %r1, %tid.q;", "no such component"),
        ("mov.b32 {%r1}|%r1, %r2;", "pair is of two registers"),
        ("mov.b32 5|%r1, %r2;", "no other arithmetic"),
        ("L: L: ret;", "declared already, in line 6"),
        (".reg .b32 %r3;", "declared already, in line 4"),
        (".reg .b32 x; .reg .b32 x;", "declared already, in line 6"),
        (".reg .b32 %r<20>;", "declared already, in line 4"),
        (".reg .b32 k_a;", "declared already"),
        (".reg .v8 .f32 v;", "expected a type"),
        (".reg .b32 q<2+3>;", "expected `>`"),
        (".reg .b32 q<4000000000>;", "may have 1048576 registers"),
        (".branchtargets A; A:", "needs a label"),
        (".shared .pred p;", "lives in a register"),
        (".shared .b32 x = 5;", "have initial values"),
        (".shared .align 3 .b32 x;", "power of two"),
        (".loc 1 5\nret;", "expected a column"),
        (".loc 1 5 3;\nret;", "must not be empty"),
        ("call (%r1) f;", "expected `,`"),
        ("call %rd1, (%r1), nowhere;", "no label of this name"),
        ("call k_a, ();", "expected a function or a register"),
        ("@5 ret;", "predicate register of a guard"),
        ("bra 5;", "expected a label"),
        ("bra %r1;", "no label of this name"),
        ("mov.b32 %r1, nothing;", "no register, variable, function or label"),
        ("mov.b32 %r1, generic(k_a);", "for initialisers"),
        ("mov.b32 %r1, -%r2;", "cannot be negated"),
        ("mov.b32 %r1, k;", ""),
    ];
    for (body, message) in cases {
        if message.is_empty() {
            // A kernel's own name is a name like others: whether its address may be taken is not for the reader to say.
            super::read("", body);
            continue;
        }
        let error = only("", body);
        assert!(error.to_string().contains(message), "{body}: {error}");
    }
}

#[test]
fn declarations_that_are_no_ptx_are_refused() {
    let cases = [
        (".global .u32 x[2] = {1, 2, 3};", "more values"),
        (".global .u32 x[2][3] = {1, 2, 3};", "expected `{`"),
        (".global .u32 x = {1};", "expected a number"),
        (".global .u32 x[2] = {1, };", "expected a number"),
        (".global .u32 x = 1.5;", "needs an integer"),
        (".global .f32 x = 1;", "needs a float"),
        (".global .f16 x = 1.5;", "no initial value"),
        (".global .u32 y; .global .u16 x = y;", "4 or 8 bytes"),
        (".global .u32 y; .global .u8 x = 0x3(y);", "one byte"),
        (".global .u32 x[];", "must be `.extern`"),
        (".global .u32 x[0];", "must be `.extern`"),
        (".global .u32 x[2+3];", "expected `]`"),
        (".global .u32 x[4][];", "number of elements"),
        (".global .b8 x[99999999999999];", "at most"),
        (".global .b8 x[4294967296][4294967296];", "at most"),
        (".global .b8 x[2][1000000000000] = {{1}, {2}};", "at most"),
        (".global .b8 x[2][400000000000] = {{1}, {2}};", "too large gaps"),
        (".global .b32 .align 8 x;", "expected a name"),
        (".global .u32 x; .global .u32 x;", "declared already"),
        (".global .u32 x = y; .global .u32 y;", "no register, variable or function"),
        (".global .texref t;", "textures"),
        (".param .u32 x;", "belongs to a function"),
        (".func f(.param .b32 a); .func f(.param .b64 a) { ret; }", "with other parameters"),
        (".func f() { ret; } .func f() { ret; }", "has a body already"),
        (".func f(); .entry f() { ret; }", "a kernel here"),
        (".entry f() .maxntidd 4 { ret; }", "did you mean `.maxntid`?"),
        (".entry (.param .b32 r) f() { ret; }", "returns nothing"),
        (".func f(); .alias f, f;", "alias of itself"),
        (".version 8.8", "once, at the beginning"),
        (".section .debug_info { {", "not closed"),
        (".entry f() { ret;", "needs its `}`"),
        ("add.s32 a, b, c;", "outside of functions"),
        (".pragma nounroll;", "in quotes"),
    ];
    for (text, message) in cases {
        let text = with_header(text);
        let found = parse(&text).expect_err(&text);
        assert!(found[0].to_string().contains(message), "{text}: {found:?}");
    }
}

#[test]
fn a_text_begins_with_its_version_and_target() {
    for (text, message) in [
        ("", "begins with `.version`"),
        (".target sm_90", "begins with `.version`"),
        (".version 8", "a version such as 8.8"),
        (".version 8.8 .entry k() { ret; }", "expected `.target`"),
        (".version 8.8 .target sm_90 .address_size 16", "32 or 64 bits"),
    ] {
        let found = parse(text).expect_err(text);
        assert!(found[0].to_string().contains(message), "{text}: {found:?}");
    }
}

#[test]
fn a_text_that_is_no_ptx_ends_in_a_bounded_list() {
    let found = parse(&with_header(&"x 1;\n".repeat(100_000))).expect_err("no PTX");
    assert!((10..=64).contains(&found.len()), "{}", found.len());
}

#[test]
fn deep_nesting_is_an_error() {
    for (open, close) in [("(", ")"), ("-", ""), ("1?", ":1"), ("(.s64)", ""), ("generic(", ")")] {
        let deep = format!("mov.b64 %rd1, {}1{};", open.repeat(100_000), close.repeat(100_000));
        assert!(!errors("", &deep).is_empty(), "{open}");
    }
    for (open, close) in [("{", "}"), ("[1,", "]")] {
        let deep = format!("mov.b64 %rd1, {}1{};", open.repeat(100_000), close.repeat(100_000));
        assert!(!errors("", &deep).is_empty(), "{open}");
    }
    let blocks = format!("{}ret;{}", "{".repeat(100_000), "}".repeat(100_000));
    assert!(errors("", &blocks)[0].to_string().contains("blocks"));
}
