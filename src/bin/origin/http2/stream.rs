//! Reads and writes the bytes of one HTTP/2 stream.
//!
//! Owns flow control: nothing is sent without capacity, and what was read is
//! given back at once. Memory is bounded by the windows.

use std::{future::poll_fn, sync::atomic::Ordering};

use bytes::Bytes;
use h2::{Error, Reason, RecvStream, SendStream};

use crate::{origin::Origin, request::Field, text::latin1};

/// The next bytes of the request body; `None` at its end. The caller gives their
/// capacity back.
pub async fn read(body: &mut RecvStream, origin: &Origin) -> Result<Option<Bytes>, Error> {
    let Some(data) = body.data().await.transpose()? else { return Ok(None) };
    origin.counters.bytes_in.fetch_add(data.len() as u64, Ordering::Relaxed);
    Ok(Some(data))
}

/// The request's trailers; after its body.
pub async fn read_trailers(body: &mut RecvStream) -> Result<Vec<Field>, Error> {
    Ok(body.trailers().await?.map(|map| fields(&map)).unwrap_or_default())
}

/// Sends bytes as the client's window lets them out; `last` ends the stream.
pub async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes, last: bool) -> Result<(), Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(Reason::CANCEL)??;
        let part = data.split_to(granted.min(data.len()));
        if !part.is_empty() {
            stream.send_data(part, last && data.is_empty())?;
        }
    }
    Ok(())
}

/// Header fields as text, values of one name together.
pub fn fields(map: &http::HeaderMap) -> Vec<Field> {
    map.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes()))).collect()
}
