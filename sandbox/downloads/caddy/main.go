// Command caddy is Caddy with its standard modules, for machines that can't download the
// official binary: the version it reports is the one pinned in go.mod.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() {
	caddycmd.Main()
}
