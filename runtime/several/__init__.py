"""One session interface over several devices, or several sessions on one."""
