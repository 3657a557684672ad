//! How a line of the table becomes a function that takes libc's place, and `original::` the way to libc's own.
//!
//! `= path op { … }`, `= at op { directory, … }`: the call with another path, as `ops::files` decides. `= hook function`:
//! does more. `variadic fn`: the hook gets all words but the first as an array. `jump fn`: the hook chooses the second
//! argument (`inpod_sys::jump`).

macro_rules! hooks {
    ($(
        $(#[doc = $doc:literal])?
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $result:ty = $how:ident $op:path
            $({ $($chosen:tt)* })?;
    )*
    $(variadic fn $listed:ident($first:ident: Text, $rest:ident: CArray) -> c_int = hook $run:path;)*
    $(jump fn $seeing:ident($one:ident: Text, $two:ident: c_int) -> Any = hook $plan:path;)*) => {
        $(
            #[no_mangle]
            #[doc = concat!("# Safety\nAs ", stringify!($name), " of libc.")]
            pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                hooks!(@body $how $name($($argument),*) $op $({ $($chosen)* })?)
            }
        )*

        $(
            inpod_sys::variadic! {
                #[doc = concat!("# Safety\nAs ", stringify!($listed), " of libc.")]
                $listed => $run
            }
        )*

        $(
            inpod_sys::jump! {
                #[doc = concat!("# Safety\nAs ", stringify!($seeing), " of libc.")]
                $seeing => $plan
            }
        )*

        /// The same functions, of the next library.
        #[allow(dead_code, reason = "some hooks go another way")]
        pub mod original {
            use super::*;

            inpod_sys::of_next! {
                $(
                    #[doc = concat!("# Safety\nAs ", stringify!($name), " of libc.")]
                    fn $name($($argument: $type),*) -> $result, or inpod_ops::guard::fail(libc::ENOSYS);
                )*
            }
        }
    };

    (@body hook $name:ident($($argument:ident),*) $hook:path) => {{
        // SAFETY: the program's own call.
        unsafe { $hook($($argument),*) }
    }};
    (@body at $name:ident($($argument:ident),*) $op:path { $dir:ident, $path:ident $(, $extra:expr)* }) => {{
        // SAFETY: the function takes a C string or NULL.
        let text = unsafe { inpod_sys::text::c_text($path) };
        // SAFETY: the program's own arguments, but for the path.
        $op($dir, text, $($extra,)* |$dir, $path| unsafe { original::$name($($argument),*) })
    }};
    (@body path $name:ident($($argument:ident),*) $op:path { $path:ident $(, $extra:expr)* }) => {{
        // SAFETY: the function takes a C string or NULL.
        let text = unsafe { inpod_sys::text::c_text($path) };
        // SAFETY: the program's own arguments, but for the path.
        $op(AT_CWD, text, $($extra,)* |_, $path| unsafe { original::$name($($argument),*) })
    }};
}

pub(crate) use hooks;
