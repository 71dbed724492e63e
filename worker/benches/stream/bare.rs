//! What the machine can do: bytes to a thread and back over loopback, without any protocol.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

/// Sends so many messages of `length` bytes to a thread that sends them back; GB/s in one direction.
pub fn echo(length: usize, messages: usize) -> io::Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut message = vec![0; length];
            for _ in 0..messages {
                stream.read_exact(&mut message)?;
                stream.write_all(&message)?;
            }
            Ok::<_, io::Error>(())
        });
        let mut sending = TcpStream::connect(address)?;
        let mut back = sending.try_clone()?;
        scope.spawn(move || {
            let message = vec![7; length];
            (0..messages).try_for_each(|_| sending.write_all(&message))
        });
        let mut message = vec![0; length];
        for _ in 0..messages {
            back.read_exact(&mut message)?;
            assert!(message.iter().all(|byte| *byte == 7), "a message came back changed");
        }
        Ok::<_, io::Error>(())
    })?;
    Ok((messages * length) as f64 / 1e9 / start.elapsed().as_secs_f64())
}
