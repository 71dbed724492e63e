//! A worker as a client sees it: a real server and real clients, on loopback.

mod client;
mod fixture;

mod connections;
mod exchange;
mod life;
mod live;
mod process;
mod refusals;
mod sequences;
mod training;
mod transforming;
mod unfit;
