"""What is said: `agent` between session and agent, `layer` between layer and session. No I/O."""
