"""What all provisioners share, wherever instances run; nothing here starts a process or a pod."""
