"""What courseload's modules and plugins share: computation alone, without Ansible."""
