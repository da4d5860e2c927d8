"""The only place that speaks to `rm_gateway`: builds clients, and puts the gateway's words into ours."""
