"""Pages of the gateway's on which an invoice is paid: handed out, and looked at until nothing can be paid on them."""
