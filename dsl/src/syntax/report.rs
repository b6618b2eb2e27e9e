//! Collects every error of a definition.

use proc_macro2::Span;

/// The errors found so far, each on its token.
#[derive(Default)]
pub(super) struct Report {
    errors: Vec<syn::Error>,
}

impl Report {
    pub(super) fn error(&mut self, span: Span, message: impl std::fmt::Display) {
        self.errors.push(syn::Error::new(span, message));
    }

    pub(super) fn add(&mut self, error: syn::Error) {
        self.errors.push(error);
    }

    /// `value`, or all errors as one, in the order of the source.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> syn::Result<T> {
        self.errors.sort_by_key(|e| {
            let start = e.span().start();
            (start.line, start.column)
        });
        let mut errors = self.errors.into_iter();
        match (errors.next(), value) {
            (None, Some(value)) => Ok(value),
            (first, _) => {
                let mut all = first.unwrap_or_else(|| {
                    syn::Error::new(Span::call_site(), "the definition could not be read")
                });
                errors.for_each(|e| all.combine(e));
                Err(all)
            }
        }
    }
}
