module tollgate.example/verify

go 1.19
