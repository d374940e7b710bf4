//! A box between us and the gateway: it lets everything through, but for the charges of one token,
//! whose connection it resets when the gateway answers.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A charge with it is made, and the connection is reset before the first byte of the answer.
pub(crate) const RESET: &str = "tok_approve_reset";

/// The address of a proxy before this one.
pub(crate) async fn before(url: &str) -> String {
    let gateway = url.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let gateway = TcpStream::connect(&gateway).await.unwrap();
            tokio::spawn(relay(client, gateway));
        }
    });
    format!("http://{address}")
}

/// Until one side leaves.
async fn relay(mut client: TcpStream, mut gateway: TcpStream) {
    let (mut asked, mut answered) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    let mut is_doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&asked[..count]);
                is_doomed |= text.contains(RESET);
                gateway.write_all(&asked[..count]).await.unwrap();
            }
            read = gateway.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if is_doomed {
                    return client.set_zero_linger().unwrap();
                }
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
