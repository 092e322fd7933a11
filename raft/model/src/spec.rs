//! What the output shall be: the request as a user gives it, and the resolved
//! spec with every default filled in. The resolved spec is part of P1: equal
//! specs over equal sources and builds give equal bytes.

mod amount;
mod audio;
mod bounds;
mod choices;
mod encoder;
mod error;
mod formats;
mod options;
mod picture;
mod resolve;
mod streams;

pub use self::{
    amount::{Aim, Amount, centi_words, target_words},
    bounds::{Bounds, NUMBERS},
    choices::{Audio, Codec, Container, Deinterlace, Denoise, Metric, Subtitles},
    encoder::PIX_FMTS,
    error::SpecError,
    options::{Crop, EncoderChoice, Spec, SpecRequest},
    resolve::resolve,
};
