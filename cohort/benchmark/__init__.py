"""What teaching each other costs, measured: every exchange beside independent students."""
