//! The engines that are connected to this member. It is their mouth and ear: to the
//! leader it names them in its own heartbeats, and for each of their attempts it runs
//! all that a worker runs, but for ffmpeg itself. So what an engine gives is checked
//! here as what ffmpeg gives on this machine.
//!
//! All of it is memory. An engine that has lost its member goes to another one, and
//! says there what it runs.

mod budget;
mod here;
mod lines;
mod machine;
mod run;

pub use self::{
    budget::Budget,
    here::{EngineHello, EnginesHere, EnginesTold, Member, Said, Told, Underway},
    machine::EngineMachine,
    run::{Ending, Loss, Run},
};
