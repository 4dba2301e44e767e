output "entry" {
  description = "The public's way in; give it a name of yours (CNAME)"
  value       = aws_lb.entry.dns_name
}
