#!/bin/sh
# A dynamic inventory, as a cloud's script prints it.
[ "$1" = --list ] || exit 64
cat <<'JSON'
{
  "web": {"hosts": ["w1", "w2"], "vars": {"ansible_user": "web", "ansible_port": 2200}},
  "canary": {"hosts": ["w2"]},
  "eu": {"children": ["web"], "vars": {"ansible_port": 2300}},
  "_meta": {"hostvars": {"w1": {"ansible_host": "203.0.113.81"}, "w2": {"ansible_host": "203.0.113.82", "ansible_user": "w"}}}
}
JSON
